"""Side-by-side measurements. Each file prints as its last line one flat JSON object, key → number."""
