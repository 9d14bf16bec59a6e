"""What images and sounds are to a network: one file a kind, with `array(record, cfg)` and `render(array, cfg)`."""
