"""The scripts that train the networks of the zoo.

    python -m lepton.models.training bearing words      # trains these, and writes their files and cards again

One module for each network makes a `Recipe`: data, module, loss. `fitting` trains it, `publish` quantizes, measures and
writes it. Every choice (epoch, rate) is made on the validation data; the test data are looked at once, for the card.
Needs the extras `toolkit` and `data`; `words` needs espeak-ng, `vessels` the folder of `--shared`.
"""
