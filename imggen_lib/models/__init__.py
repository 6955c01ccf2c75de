"""The families of generative models, one file each, with one interface: ``fit`` and ``sample``.

All but one are Keras models, with ``save`` and all the rest. ``GaussianImageModel`` is NumPy alone, so importing this
package does not import Keras until a family that needs it is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoregressive": ["PixelCNN"],
        "base": ["GenerativeModel", "MovingAverage"],
        "classifier": ["Classifier"],
        "diffusion": ["Diffusion"],
        "gan": ["GAN", "ConditionalGAN"],
        "flow": ["Flow"],
        "gaussian": ["GaussianImageModel"],
        "reader": ["Reader"],
        "vae": ["VAE", "ConditionalVAE"],
    },
)
