r"""What the two players of a GAN minimise, and what keeps a discriminator from being too steep: small named functions.

All in logits: :math:`D = \sigma(\ell)`, so :math:`-\log D = \operatorname{softplus}(-\ell)`, which never overflows. Each
loss takes the ``(n, 1)`` outputs of the discriminator on real and on generated pictures, and is a scalar.
"""

from keras import ops

from imggen_lib import backend


def discriminator_loss(real_logits, fake_logits):
    r"""What the discriminator minimises: cross-entropy of "real" and "fake", the negative value of the game.

    .. math:: -\mathbb{E}_x[\log D(x)] - \mathbb{E}_z[\log(1 - D(G(z)))]

    In nats; :math:`2 \log 2` where the discriminator cannot tell the two apart.

    Examples
    --------
    >>> undecided = ops.zeros((4, 1))
    >>> round(float(discriminator_loss(undecided, undecided)), 4)
    1.3863
    """
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits):
    r"""What the generator minimises, in the non-saturating form: :math:`-\mathbb{E}_z[\log D(G(z))]`.

    Its gradient does not vanish where the discriminator wins (Goodfellow et al., 2014, section 3).

    Examples
    --------
    >>> round(float(generator_loss(ops.zeros((4, 1)))), 4)
    0.6931
    """
    return ops.mean(ops.softplus(-fake_logits))


def minimax_generator_loss(fake_logits):
    r"""The generator's part of the value of the game itself, :math:`\mathbb{E}_z[\log(1 - D(G(z)))]`. It saturates.

    Examples
    --------
    >>> round(float(minimax_generator_loss(ops.zeros((4, 1)))), 4)
    -0.6931
    """
    return -ops.mean(ops.softplus(fake_logits))


def critic_generator_loss(fake_logits):
    r"""What the generator minimises against a critic, whose output is no logit: :math:`-\mathbb{E}_z[f(G(z))]`.

    Examples
    --------
    >>> float(critic_generator_loss(ops.ones((4, 1))))
    -1.0
    """
    return -ops.mean(fake_logits)


def hinge_discriminator_loss(real_logits, fake_logits):
    r"""Margins: :math:`\mathbb{E}_x[\max(0, 1 - f(x))] + \mathbb{E}_z[\max(0, 1 + f(G(z)))]`.

    What is right by more than 1 is right enough (Lim and Ye, "Geometric GAN", arXiv:1705.02894, 2017).

    Examples
    --------
    >>> float(hinge_discriminator_loss(2 * ops.ones((4, 1)), ops.zeros((4, 1))))
    1.0
    """
    return ops.mean(ops.relu(1 - real_logits)) + ops.mean(ops.relu(1 + fake_logits))


def wasserstein_discriminator_loss(real_logits, fake_logits):
    r"""A difference of means, :math:`\mathbb{E}_z[f(G(z))] - \mathbb{E}_x[f(x)]`.

    Its negative is at most the Wasserstein distance, if the slope of f is nowhere more than 1: it wants a penalty
    (Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", ICML 2017).

    Examples
    --------
    >>> float(wasserstein_discriminator_loss(ops.ones((4, 1)), ops.zeros((4, 1))))
    -1.0
    """
    return ops.mean(fake_logits) - ops.mean(real_logits)


#: The pairs by name: what the generator minimises, and what the discriminator does.
LOSSES = {
    "non_saturating": (generator_loss, discriminator_loss),
    "minimax": (minimax_generator_loss, discriminator_loss),
    "hinge": (critic_generator_loss, hinge_discriminator_loss),
    "wasserstein": (critic_generator_loss, wasserstein_discriminator_loss),
}


def gradient_penalty(critic, real, fake, share):
    r"""Punish a slope other than 1 between real and generated pictures: :math:`\mathbb{E}[(\|\nabla f(\hat x)\| - 1)^2]`.

    Parameters
    ----------
    critic : callable
        From pictures to ``(n, 1)``, each row from its own picture alone.
    real, fake : tensor
        As many of the one as of the other.
    share : tensor
        How much of each :math:`\hat x` is real, uniform in [0, 1]; broadcasts against the pictures.

    References
    ----------
    Gulrajani et al., "Improved training of Wasserstein GANs", NeurIPS 2017.

    Examples
    --------
    >>> x = ops.ones((2, 1))
    >>> float(gradient_penalty(lambda x: 3 * x, x, 2 * x, 0.5))
    4.0
    """
    between = share * real + (1 - share) * fake
    # The root has no slope at 0, hence the small number.
    norms = ops.sqrt(_squared_norms(backend.input_gradient(critic, between)) + 1e-12)
    return ops.mean(ops.square(norms - 1))


def r1_penalty(critic, real):
    r"""Punish any slope at real pictures: :math:`\tfrac12 \mathbb{E}_x[\|\nabla f(x)\|^2]`. Parameters as above.

    References
    ----------
    Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", ICML 2018.

    Examples
    --------
    >>> float(r1_penalty(lambda x: 3 * x, ops.ones((2, 1))))
    4.5
    """
    return 0.5 * ops.mean(_squared_norms(backend.input_gradient(critic, real)))


def _squared_norms(gradient):
    return ops.sum(ops.square(gradient), axis=tuple(range(1, len(gradient.shape))))


PENALTIES = (None, "gradient", "r1")
