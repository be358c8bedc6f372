"""From data to results on the chip and in the cloud: `python examples/quickstart.py` (after `make test` has installed
torch and scikit-learn, or `pip install 'lepton-chip[toolkit,sim,cloud]'`).

The chip is the simulated board, which is built once, in minutes. LEPTON_DEVICE=golden runs on the golden model, which
needs no build and counts no cycles. LEPTON_CONFIG=tiny takes a smaller chip.
"""

from lepton import LeptonChip, LeptonCloud, LeptonToolkit
from lepton.toolkit.zoo.train_digits_features import pictures

# Handwritten digits of scikit-learn; the first 900 have trained the backbone below as well.
x, y = pictures()
x_train, y_train = x[:1500], y[:1500]
x_test, y_test = x[1500:], y[1500:]

l_chip = LeptonChip()
l_cloud = LeptonCloud("build", spool="build/quickstart.db")
l_toolkit = LeptonToolkit()

l_model = l_toolkit.load_pretrained_model('digits-features')
l_model.add_conv_layer(3, 32, 3)
l_model.add_pooling_layer(2, 2)
l_model.add_dense_layer(32, 10)
print(l_model)

l_model.compile(l_chip, optimizer='adam', loss='categorical_crossentropy')
l_model.fit(x_train, y_train, epochs=10, batch_size=32)
print(l_model.optimize())                       # prune, quantize
print(l_model.deploy(l_chip))
l_model.cloud_integrate(l_cloud)

print(f"accuracy on the chip: {100 * l_model.score(x_test, y_test):.1f} % of {len(y_test)} digits it has not seen")
print(l_model.report)
print(l_model.close())
l_chip.close()
