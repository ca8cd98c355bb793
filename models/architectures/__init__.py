"""One file per network: a plain function that builds a Keras functional model with named layers."""
