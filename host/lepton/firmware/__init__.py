"""The controller's firmware: `build` compiles it; `image` packs, signs and verifies the image that the driver loads."""
