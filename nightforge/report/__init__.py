"""The page that shows why: verdict, data, training, evaluation, compression. Pure: plain data in, HTML out."""
