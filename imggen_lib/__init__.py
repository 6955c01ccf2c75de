"""A small library for learning how images are generated.

Every page of the book imports it, and a reader should be able to read all of it. Rooms, from the ground up, each
importing only those above it in this list:

``machine``                    memory and threads of this process, for speed
``checks``, ``files``          what a valid picture is; files that are written whole or not at all, and read with care
``curves``, ``spheres``        lines, balls and light
``graphics``                   pictures from rules
``captions``                   what a picture shows, in words
``datasets``                   pictures from the world
``convolution``, ``noise``     operations that can be read beside their formula
``restoration``                damaged pictures, mended by a model
``metrics``                    distances between two sets of features
``backend``, ``networks``      Keras begins here
``models``                     the families of generative models, and two judges
``callbacks``, ``training``    profiles, time budgets, stopping, resuming, diverging
``recipes``, ``catalog``       how each model is made, and those that are shipped
``scoring``                    how good pictures are
``plotting``, ``exercises``    what the pages show and ask
``playground``, ``controls``   a GAN in the plane, and widgets to play it
``cli``                        the command line ``imggen``
"""

from imggen_lib import machine

__version__ = "0.1.0"

# Before anything large is asked for, and before NumPy is loaded.
machine.keep_freed()
machine.collect_less_often()
machine.one_thread_for_small_matrices()
