"""The noise schedule."""


from keras import ops


def noisy(images, noise, angle):
    r"""Mix pictures and noise: :math:`\cos\varphi \; x + \sin\varphi \; \varepsilon`. Variances of 1 stay 1.

    Parameters
    ----------
    images, noise : tensor
        Of one shape.
    angle : tensor
        In [0, pi/2], of a shape that broadcasts.

    Returns
    -------
    tensor

    Examples
    --------
    >>> round(float(noisy(1.0, 0.0, math.pi / 3)), 6)
    0.5
    """
    return ops.cos(angle) * images + ops.sin(angle) * noise


def velocity(images, noise, angle):
    r"""Return how a noisy picture moves as the angle grows: :math:`\cos\varphi \; \varepsilon - \sin\varphi \; x`.

    Parameters and result are as in :func:`noisy`, whose derivative by the angle this is.

    Examples
    --------
    >>> round(float(velocity(1.0, 0.0, math.pi / 2)), 6)
    -1.0
    """
    return ops.cos(angle) * noise - ops.sin(angle) * images
