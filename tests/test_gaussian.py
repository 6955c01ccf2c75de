import numpy as np
import pytest
import scipy.stats
from helpers import random_images

from imggen_lib.models import GaussianImageModel


def test_log_density_agrees_with_scipy():
    images = random_images(40, shape=(2, 3, 1))
    rows = images.reshape(40, -1).astype(float)
    model = GaussianImageModel(ridge=0.01).fit(images)
    covariance = np.cov(rows, rowvar=False, bias=True) + 0.01 * np.eye(6)
    expected = scipy.stats.multivariate_normal(rows.mean(axis=0), covariance).logpdf(rows)
    np.testing.assert_allclose(model.log_prob(images), expected, rtol=1e-5)


def test_samples_have_the_mean_and_covariance_of_the_data():
    rng = np.random.default_rng(0)
    rows = 0.5 + 0.05 * rng.normal(size=(500, 4)) @ np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1]])
    samples = GaussianImageModel(ridge=1e-12).fit(rows.reshape(-1, 2, 2, 1)).sample(50_000, seed=0).reshape(-1, 4)
    np.testing.assert_allclose(samples.mean(axis=0), rows.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(rows.T, bias=True), atol=2e-4)


def test_maximum_likelihood_fit_has_a_higher_likelihood_than_a_ridge():
    images = random_images(50, shape=(2, 2, 1))
    best = GaussianImageModel(ridge=1e-12).fit(images).log_prob(images).mean()
    for ridge in (1e-3, 1e-2):
        assert GaussianImageModel(ridge=ridge).fit(images).log_prob(images).mean() < best


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="call fit"):
        GaussianImageModel().sample(1, seed=0)
    with pytest.raises(ValueError, match="call fit"):
        GaussianImageModel().log_prob(random_images(2))
    with pytest.raises(ValueError, match="at least two images"):
        GaussianImageModel().fit(random_images(1))
    with pytest.raises(ValueError, match="ridge is -1"):
        GaussianImageModel(ridge=-1)
    fitted = GaussianImageModel().fit(random_images(2))
    with pytest.raises(ValueError, match=r"expected \(n, 8, 8, 1\)"):
        fitted.log_prob(random_images(2, shape=(4, 4, 1)))
    with pytest.raises(ValueError, match="takes no labels"):
        fitted.log_prob(random_images(2), labels=[0, 1])
