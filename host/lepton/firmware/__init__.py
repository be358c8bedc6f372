"""The controller's firmware: `build` compiles it, `image` packs, signs and verifies what the driver loads."""
