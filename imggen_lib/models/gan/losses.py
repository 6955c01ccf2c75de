r"""The losses of a GAN's two networks, and penalties on the gradient of the discriminator.

The losses work on logits. With the discriminator's probability :math:`D = \sigma(\ell)` for "real",
:math:`-\log D = \operatorname{softplus}(-\ell)`, which cannot overflow. Each loss takes the ``(n, 1)`` outputs of the
discriminator on real and on generated images and returns a scalar. G is the generator, f a critic: a discriminator whose
output is any number and not a logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from imggen_lib import backend

__all__ = [
    "LOSSES", "PENALTIES", "critic_generator_loss", "discriminator_loss", "generator_loss", "gradient_penalty",
    "hinge_discriminator_loss", "minimax_generator_loss", "r1_penalty", "relativistic_discriminator_loss",
    "relativistic_generator_loss", "wasserstein_discriminator_loss",
]  # fmt: skip


def discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    r"""Return the discriminator's cross-entropy between real and generated images, the negative of the value function.

    .. math:: -\mathbb{E}_x[\log D(x)] - \mathbb{E}_z[\log(1 - D(G(z)))]

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.

    Examples
    --------
    A discriminator that gives every image probability 1/2 has the loss log 4:

    >>> zero = ops.zeros((4, 1))
    >>> round(float(ops.exp(discriminator_loss(zero, zero))), 4)
    4.0
    """
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits: Any) -> Any:
    r"""Return the non-saturating loss of the generator, :math:`-\mathbb{E}_z[\log D(G(z))]`.

    Its gradient does not vanish where the discriminator rejects the generated images.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014, section 3.

    Examples
    --------
    >>> rejected = ops.full((4, 1), -20.0)
    >>> round(float(generator_loss(rejected)), 4)
    20.0
    """
    return ops.mean(ops.softplus(-fake_logits))


def minimax_generator_loss(fake_logits: Any) -> Any:
    r"""Return the generator's part of the value function, :math:`\mathbb{E}_z[\log(1 - D(G(z)))]`.

    It saturates: where the discriminator rejects the generated images, it is nearly constant.

    Examples
    --------
    >>> rejected = ops.full((4, 1), -20.0)
    >>> abs(float(minimax_generator_loss(rejected) - minimax_generator_loss(rejected + 1))) < 1e-6
    True
    """
    return -ops.mean(ops.softplus(fake_logits))


def critic_generator_loss(fake_logits: Any) -> Any:
    r"""Return the loss of a generator that is trained against a critic, :math:`-\mathbb{E}_z[f(G(z))]`.

    Examples
    --------
    >>> float(critic_generator_loss(ops.convert_to_tensor([[1.0], [3.0]])))
    -2.0
    """
    return -ops.mean(fake_logits)


def hinge_discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    r"""Return the hinge loss :math:`\mathbb{E}_x[\max(0, 1 - f(x))] + \mathbb{E}_z[\max(0, 1 + f(G(z)))]`.

    An image on the right side of zero by more than the margin of 1 adds nothing.

    References
    ----------
    Lim and Ye, "Geometric GAN", arXiv:1705.02894, 2017.

    Examples
    --------
    >>> one = ops.ones((4, 1))
    >>> [float(hinge_discriminator_loss(real, -2 * one)) for real in (0 * one, one, 2 * one)]
    [1.0, 0.0, 0.0]
    """
    return ops.mean(ops.relu(1 - real_logits)) + ops.mean(ops.relu(1 + fake_logits))


def wasserstein_discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    r"""Return the negative difference of the critic's means, :math:`\mathbb{E}_z[f(G(z))] - \mathbb{E}_x[f(x)]`.

    For a critic with Lipschitz constant 1 its negative is at most the Wasserstein distance, so it is used with
    :func:`gradient_penalty`.

    References
    ----------
    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017.

    Examples
    --------
    For points on a line moved by 3, the critic f(x) = -x attains the Wasserstein distance of 3:

    >>> real = ops.convert_to_tensor([[0.0], [1.0]])
    >>> float(-wasserstein_discriminator_loss(-real, -(real + 3)))
    3.0
    """
    return ops.mean(fake_logits) - ops.mean(real_logits)


def relativistic_discriminator_loss(real_logits: Any, fake_logits: Any) -> Any:
    r"""Return the loss of a discriminator that compares pairs, :math:`\mathbb{E}[\operatorname{softplus}(f(G(z)) - f(x))]`.

    Each real image is compared with one generated image. Only the difference counts, so a generated image must look more
    real than the real images near it, and the discriminator gains nothing from rejecting all generated images alike.

    References
    ----------
    Jolicoeur-Martineau, "The relativistic discriminator: a key element missing from standard GAN", ICLR 2019. Huang et al.,
    "The GAN is dead; long live the GAN! A modern GAN baseline", NeurIPS 2024.

    Examples
    --------
    If both logits grow by the same number, the loss does not change:

    >>> real, fake = ops.full((4, 1), 2.0), ops.ones((4, 1))
    >>> [round(float(relativistic_discriminator_loss(real + c, fake + c)), 4) for c in (0, 100)]
    [0.3133, 0.3133]
    """
    return ops.mean(ops.softplus(fake_logits - real_logits))


def relativistic_generator_loss(fake_logits: Any, real_logits: Any) -> Any:
    r"""Return the generator's loss of the comparison, :math:`\mathbb{E}[\operatorname{softplus}(f(x) - f(G(z)))]`.

    Examples
    --------
    >>> zero = ops.zeros((4, 1))
    >>> round(float(ops.exp(relativistic_generator_loss(zero, zero))), 4)
    2.0
    """
    return relativistic_discriminator_loss(fake_logits, real_logits)


#: For each name of a loss, the function of the generator and that of the discriminator. The first takes the logits of
#: generated images; ``"relativistic"`` also takes those of as many real images.
LOSSES: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Any]]] = {
    "non_saturating": (generator_loss, discriminator_loss),
    "minimax": (minimax_generator_loss, discriminator_loss),
    "hinge": (critic_generator_loss, hinge_discriminator_loss),
    "wasserstein": (critic_generator_loss, wasserstein_discriminator_loss),
    "relativistic": (relativistic_generator_loss, relativistic_discriminator_loss),
}


def generator_loss_by_name(name: str, fake_logits: Any, real_logits: Any) -> Any:
    """Return the generator's loss of that name in :data:`LOSSES`; ``real_logits`` counts where the loss compares pairs."""
    arguments = (fake_logits, real_logits) if name == "relativistic" else (fake_logits,)
    return LOSSES[name][0](*arguments)


#: Names of the penalties on the discriminator: none, :func:`gradient_penalty`, :func:`r1_penalty` at real images, and at
#: real and generated images.
PENALTIES: tuple[str | None, ...] = (None, "gradient", "r1", "r1_r2")


def gradient_penalty(critic: Callable[[Any], Any], real: Any, fake: Any, fraction: Any) -> Any:
    r"""Return the penalty on gradient norms other than 1 between real and generated images.

    .. math:: \mathbb{E}[(\|\nabla f(\hat x)\| - 1)^2], \qquad \hat x = t x + (1 - t) G(z)

    Parameters
    ----------
    critic : callable
        From images to ``(n, 1)``; each row may depend on its own image only.
    real, fake : tensor
        Of one shape.
    fraction : tensor
        t, uniform in [0, 1]; broadcasts against the images.

    References
    ----------
    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Examples
    --------
    A linear critic of slope 3 has the penalty (3 - 1)**2 everywhere:

    >>> x = ops.ones((2, 1))
    >>> float(gradient_penalty(lambda x: 3 * x, x, 2 * x, 0.5))
    4.0
    """
    between = fraction * real + (1 - fraction) * fake
    # The square root is not differentiable at 0, hence the small constant.
    norms = ops.sqrt(_squared_norms(backend.input_gradient(critic, between)) + 1e-12)
    return ops.mean(ops.square(norms - 1))


def r1_penalty(critic: Callable[[Any], Any], real: Any) -> Any:
    r"""Return the penalty on the gradient at real images, :math:`\tfrac12 \mathbb{E}_x[\|\nabla f(x)\|^2]`.

    Parameters are as in :func:`gradient_penalty`.

    References
    ----------
    Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.

    Examples
    --------
    >>> float(r1_penalty(lambda x: 3 * x, ops.ones((2, 1))))
    4.5
    """
    return 0.5 * ops.mean(_squared_norms(backend.input_gradient(critic, real)))


def _squared_norms(gradient: Any) -> Any:
    return ops.sum(ops.square(gradient), axis=tuple(range(1, len(gradient.shape))))
