"""The scripts in benchmarks/: counting of time, resumption, and the rows and tables that they write."""

import copy
import json
import statistics
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imggen_lib import datasets, io, pretrained, recipes

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import attention  # noqa: E402
import dit  # noqa: E402
import equal_time  # noqa: E402
import families  # noqa: E402
import latent  # noqa: E402
import leaderboard  # noqa: E402
import marble_race  # noqa: E402
import race  # noqa: E402
import shipped_models  # noqa: E402
import tokens  # noqa: E402


class CountingRunner:
    """A training whose steps take a fixed time on a simulated clock."""

    batch_size = 8

    def __init__(self, seed, num_steps=None, *, clock=None, seconds_per_step=0.1):
        self.seed, self.num_steps, self.steps = seed, num_steps, 0
        self.clock, self.seconds_per_step, self.advanced = clock, seconds_per_step, []

    def advance(self, num_steps):
        self.advanced.append(num_steps)
        self.steps += num_steps
        if self.clock is not None:
            self.clock.now += num_steps * self.seconds_per_step

    def save(self, path):
        Path(f"{path}.state").write_text(str(self.steps))

    def restore(self, path):
        self.steps = int(Path(f"{path}.state").read_text())


@pytest.fixture
def clock(monkeypatch):
    simulated = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(race.time, "perf_counter", lambda: simulated.now)
    monkeypatch.setattr(race, "processor_use", lambda: 0.0)
    return simulated


@pytest.fixture
def results_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(race, "RESULTS", tmp_path)
    monkeypatch.setattr(race.imggen_lib, "configure_process", lambda: None)
    return tmp_path


def entry(build=CountingRunner, **options):
    return race.Entry("`tiny`", build, **{"seeds": (0,), "seconds": 60, **options})


# Time


def test_seconds_per_step_are_measured_in_rounds_of_at_least_five_seconds(clock):
    built = []

    def build(seed):
        built.append(CountingRunner(seed, clock=clock, seconds_per_step=0.25))
        return built[-1]

    timed = race.time_steps({"a": entry(build)})
    assert np.isclose(timed["a"]["seconds_per_step"], 0.25)
    # One step compiles, doubling finds 32 steps (8 s; 16 steps last 4 s), and three rounds count.
    assert built[0].advanced == [1, 1, 2, 4, 8, 16, 32, 32, 32, 32]


def test_entries_that_differ_only_in_their_budget_are_timed_once(clock):
    built = []

    def build(seed, num_steps=None):
        built.append(CountingRunner(seed, num_steps, clock=clock))
        return built[-1]

    timed = race.time_steps({"short": entry(build, seconds=1), "long": entry(build, seconds=9)})
    assert len(built) == 1
    assert timed["short"]["rounds"] == timed["long"]["rounds"]
    assert timed["short"]["curves"] is not timed["long"]["curves"]


def test_a_busy_machine_is_warned_about(monkeypatch, capsys):
    for used in (0.05, None):
        monkeypatch.setattr(race, "processor_use", lambda used=used: used)
        race.warn_if_busy()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(race, "processor_use", lambda: 0.6)
    race.warn_if_busy()
    assert "other programs use 60% of the processor" in capsys.readouterr().err


@pytest.mark.parametrize(("scheduled", "expected"), [(False, None), (True, 240)])
def test_a_scheduled_entry_is_built_with_the_steps_that_fit_into_its_seconds(scheduled, expected):
    assert entry(scheduled=scheduled).runner(0, 0.25).num_steps == expected


def test_a_recipe_with_a_number_of_steps_has_a_learning_rate_that_falls_over_them(clothes):
    runner = race.RecipeRunner("vae_2d", 0, clothes, num_steps=4)
    rates = []
    for _ in range(5):
        rates.append(float(np.asarray(runner.model.optimizer.learning_rate)))
        runner.model.optimizer.iterations.assign_add(1)
    assert rates == sorted(rates, reverse=True) and rates[4] < 1e-3 * rates[0]
    constant = race.RecipeRunner("vae_2d", 0, clothes).model.optimizer
    constant.iterations.assign(4)
    assert np.isclose(float(np.asarray(constant.learning_rate)), rates[0])


# Races


def test_a_race_measures_at_its_points_and_resumes_where_it_stopped(results_folder, clock, monkeypatch):
    measured = []

    def measure(runner):
        if len(measured) == 1:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append(runner.steps)
        return 100.0 / runner.steps

    def build(seed, num_steps=None):
        return CountingRunner(seed, num_steps, clock=clock)

    entries = {"a": entry(build, seconds=60)}
    with pytest.raises(KeyboardInterrupt):
        race.run("test", entries, measure, (0.05, 20, 40, 60, 80))
    timings = []
    monkeypatch.setattr(race, "time_steps", lambda missing: timings.append(missing))
    results = race.run("test", entries, measure, (0.05, 20, 40, 60, 80))
    # 0.05 s are over before the first step, and 80 s are not in the budget.
    assert [(seconds, steps) for seconds, steps, _ in results["a"]["curves"]["0"]] == [(20, 200), (40, 400), (60, 600)]
    assert measured == [200, "stopped", 400, 600]
    assert timings == []
    race.run("test", entries, measure, (0.05, 20, 40, 60, 80))
    assert len(measured) == 4


def test_results_of_another_commit_are_resumed_with_a_note(results_folder, clock, monkeypatch, capsys):
    def build(seed):
        return CountingRunner(seed, clock=clock)

    race.run("test", {"a": entry(build)}, lambda runner: 1.0, (60,))
    assert "resuming" not in capsys.readouterr().err
    monkeypatch.setattr(race, "commit", lambda: "fffffff")
    race.run("test", {"a": entry(build)}, lambda runner: 1.0, (60,))
    assert "a: resuming results of" in capsys.readouterr().err


def test_a_trial_takes_four_steps_and_keeps_its_results_apart(results_folder):
    entries = {"a": entry(seeds=(0, 1, 2), scheduled=True, points=(600,))}
    results = race.run("test", entries, lambda runner: runner.steps, (60, 600), trial=True)
    assert results["a"]["curves"] == {"0": [[1, 2, 2], [2, 4, 4]]}
    assert not (results_folder / "test.json").exists()
    assert json.loads((results_folder / "trial" / "test.json").read_text()) == results


def test_table_has_median_and_range_of_the_seeds_and_empty_cells():
    curves = {str(seed): [[60, 6, value], [600, 60, 1234.4]] for seed, value in enumerate((3.0, 12.34, 7.0))}
    results = {"a": {"seconds_per_step": 10.0, "batch_size": 8, "curves": curves}}
    assert race.table(results, {"a": entry()}, (15, 60, 600)).splitlines() == [
        "| | one step | 15 s | 60 s | 10 min |",
        "|---|---:|---:|---:|---:|",
        "| `tiny` | 8 images, 10.00 s |  | 7.00 (3.00 to 12.3) | 1,234 |",
    ]


def equal_time_results(seeds: tuple[int, ...] = equal_time.SEEDS) -> dict[str, Any]:
    """Return results of the race: nine after a minute and three after ten, one more for each seed."""
    result = {"seconds_per_step": 0.5, "batch_size": 8, "machine": "tiny, 2 cores", "commit": "abc1234"}
    ends = {60: 9.0, 600: 3.0}
    return {
        f"{name}-{point}s": {
            **result,
            "conditional": name == "pixelcnn",
            "curves": {str(seed): [[point, 2 * point, end + seed]] for seed in seeds},
        }
        for name in equal_time.MODELS
        for point, end in ends.items()
    }


def test_table_of_equal_times_states_seeds_budget_and_conditions(tmp_path, monkeypatch):
    monkeypatch.setattr(race, "plot", lambda *arguments, **options: None)
    results = equal_time.by_family(equal_time_results())
    equal_time.write(tmp_path / "table.md", results, 0.4764, 5000, equal_time.POINTS)
    text = (tmp_path / "table.md").read_text()
    assert "on tiny, 2 cores. Seeds, chosen beforehand: 3 after 60 s and 3 after 10 min; of several, the median" in text
    assert "the distance is 0.476." in text and "Conditioned on the class: `pixelcnn`. Commit abc1234." in text
    assert text.count("| 10.0 (9.00 to 11.0) | 4.00 (3.00 to 5.00) |") == len(equal_time.MODELS)


def test_a_budget_counts_for_the_seeds_with_which_all_families_have_finished_it(tmp_path, monkeypatch):
    monkeypatch.setattr(race, "plot", lambda *arguments, **options: None)
    results = equal_time_results()
    results["vae-600s"]["curves"] = {"1": [[600, 1200, 5.0]], "2": []}
    assert equal_time.finished(results) == {60: ["0", "1", "2"], 600: ["1"]}
    families_ = equal_time.by_family(results)
    assert families_["gan"]["curves"] == {
        "0": [[60, 120, 9.0]],
        "1": [[60, 120, 10.0], [600, 1200, 4.0]],
        "2": [[60, 120, 11.0]],
    }
    equal_time.write(tmp_path / "table.md", families_, 0.4764, 5000, equal_time.POINTS)
    text = (tmp_path / "table.md").read_text()
    assert "3 after 60 s and 1 after 10 min" in text and "| 10.0 (9.00 to 11.0) | 5.00 |" in text


def test_samples_of_the_race_are_those_of_the_saved_states_and_others_stay(tmp_path):
    model = recipes.get("vae").override(latent_dim=2).model((8, 8, 1), None, seed=0)
    pretrained.save(model, tmp_path / "equal_time-vae-60s-0.keras", {"steps": 1})
    np.savez(tmp_path / "samples.npz", **{key: np.zeros((1, 8, 8, 1), np.uint8) for key in ("vae-60s", "gan-60s")})
    equal_time.store_samples(tmp_path, tmp_path / "samples.npz")
    samples = np.load(tmp_path / "samples.npz")
    assert set(samples) == {"vae-60s", "gan-60s"} and not samples["gan-60s"].any()
    expected = np.round(255 * model.sample(equal_time.NUM_SAMPLES, seed=0))
    np.testing.assert_allclose(samples["vae-60s"], expected, atol=1)
    record = json.loads((tmp_path / "samples.json").read_text())
    assert record["sha256"] == io.sha256(tmp_path / "samples.npz")


def test_entries_at_equal_time_are_scheduled_recipes_with_three_seeds():
    entries = equal_time.entries()
    assert len(entries) == len(equal_time.MODELS) * len(equal_time.POINTS)
    for key, item in entries.items():
        assert item.scheduled and item.seeds == (0, 1, 2), key
        assert key.endswith(f"-{item.seconds}s") and item.points == (item.seconds,)


def test_networks_of_the_race_are_trained_on_the_same_images_for_the_same_seconds():
    assert set(dit.entries()) == set(dit.NETWORKS) == {"unet", "dit"}
    for name, item in dit.entries().items():
        assert item.scheduled and item.seeds == (0, 1, 2) and item.seconds == dit.POINTS[-1], name
    images = dit.scenes(3, seed=0)
    assert images.shape == (3, *dit.SHAPE) and images.min() >= 0 and images.max() == 1
    assert (images == dit.scenes(3, seed=0)).all() and (images != dit.scenes(3, seed=1)).any()


def test_table_of_networks_states_baselines_weights_and_seeds(tmp_path):
    result = {"seconds_per_step": 0.02, "batch_size": 32, "machine": "tiny, 2 cores", "commit": "abc1234"}
    curves = {str(seed): [[15, 1000, 9.0 + seed], [30, 2000, 3.0]] for seed in dit.SEEDS}
    results = {name: {**result, "curves": curves} for name in dit.NETWORKS}
    dit.write(tmp_path / "table.md", results, {"a": 1.234, "b": 5.0}, 600, dit.POINTS)
    text = (tmp_path / "table.md").read_text()
    assert "tiny, 2 cores: median (minimum to maximum) of 3 seeds" in text and "it is 1.23 for a and 5 for b." in text
    assert text.count("| 10.0 (9.00 to 11.0) | 3.00 |") == 2


def test_the_race_of_diffusion_models_reports_distances_and_not_multiples(tmp_path, monkeypatch):
    monkeypatch.setattr(race, "plot", lambda *arguments, **options: None)
    curves = {"0": [[60, 120, 42.0]]}
    result = {"seconds_per_step": 0.5, "batch_size": 64, "machine": "tiny", "curves": curves}
    details = families.RACES["diffusion"]
    families.write(details, tmp_path / "table.md", {"ours": result, "example": result}, 3.21)
    text = (tmp_path / "table.md").read_text()
    assert "For 1,000 real training images it is 3.21." in text and "multiple" not in text
    assert "| `imggen train diffusion` | 64 images, 0.50 s |  | 42.0 |  |" in text


@pytest.fixture
def few_marbles(monkeypatch):
    """Few images instead of the dataset of marbles, which takes seconds to render."""

    def marbles(size):
        images = np.random.default_rng(0).random((64, size, size, 3), dtype=np.float32)
        labels = np.zeros(64, np.int64)
        return datasets.Dataset("few", images, labels, images, labels, datasets.Condition("none"))

    monkeypatch.setattr(marble_race, "marbles", marbles)


def test_small_images_of_marbles_are_averages_of_the_dataset(monkeypatch):
    images, labels = np.random.default_rng(0).random((6, 64, 64, 3), dtype=np.float32), np.arange(6)
    colours = datasets.Condition("classes", tuple("abcdef"))
    whole = datasets.Dataset("marbles", images, labels, images[:2], labels[:2], colours)
    monkeypatch.setattr(marble_race.datasets, "load", lambda name: whole)
    monkeypatch.setattr(marble_race, "marbles", marble_race.marbles.__wrapped__)
    small = marble_race.marbles(16)
    assert small.image_shape == (16, 16, 3) and small.condition.size is None
    assert np.isclose(small.x_train[3, 2, 1, 0], images[3, 8:12, 4:8, 0].mean())


@pytest.mark.parametrize("script", [tokens, latent])
def test_races_of_marbles_are_scheduled_and_have_three_seeds(script):
    for item in marble_race.entries(script.CONTESTANTS, 16, script.POINTS[-1]).values():
        assert item.scheduled and item.seeds == (0, 1, 2) and item.seconds == script.POINTS[-1]


@pytest.mark.parametrize("name", ["tokens", "pixels"])
def test_a_runner_of_marbles_trains_samples_and_is_restored(name, few_marbles, results_folder):
    def runner():
        return marble_race.MarbleRunner(tokens.CONTESTANTS[name], tokens.SIZE, 0, num_steps=4)

    trained = runner()
    trained.advance(2)
    assert trained.steps == 2 and trained.batch_size == 32
    trained.save(results_folder / "state")
    restored = runner()
    restored.restore(results_folder / "state")
    assert restored.steps == 2
    np.testing.assert_array_equal(restored.sample(3), trained.sample(3))
    assert marble_race.distance(trained.sample(3), tokens.SIZE) > marble_race.distance(trained.dataset.x_train, tokens.SIZE)


@pytest.mark.parametrize("name", ["latents", "pixels"])
def test_flows_in_a_race_generate_images_of_one_shape(name):
    assert latent.CONTESTANTS[name].build(0).image_shape == latent.SHAPE


def test_table_of_marbles_states_baselines_seeds_and_what_time_is(tmp_path, few_marbles):
    curves = {str(seed): [[15, 30, 0.3 + seed], [30, 60, 0.25]] for seed in marble_race.SEEDS}
    result = {"seconds_per_step": 0.5, "batch_size": 32, "machine": "tiny, 2 cores", "commit": "abc1234", "curves": curves}
    runners = marble_race.entries(tokens.CONTESTANTS, 16, 30)
    baselines = {"a fitted Gaussian": 0.238, "real images": 0.0127}
    results = dict.fromkeys(runners, result)
    marble_race.write(tmp_path / "table.md", results, runners, baselines, size=16, n=1000, points=(15, 30))
    text = (tmp_path / "table.md").read_text()
    assert "1,000 samples to 64 test images of marbles of 16x16 pixels" in text
    assert "on tiny, 2 cores: median (minimum to maximum) of 3 seeds, chosen beforehand." in text
    assert "with as many images it is 0.24 for a fitted Gaussian and 0.013 for real images." in text
    assert text.count("| 1.30 (0.30 to 2.30) | 0.25 |") == len(runners)


# Attention and convolution


def test_features_of_the_transformer_do_not_depend_on_the_batch_and_depend_on_positions():
    network = attention.transformer_features(width=16, depth=1)
    images = np.random.default_rng(0).random((3, *attention.SHAPE), dtype=np.float32)
    together = network.predict(images, verbose=0)
    np.testing.assert_allclose(network.predict(images[1:2], verbose=0)[0], together[1], atol=1e-5)
    next(weight for weight in network.weights if "positions" in weight.path).assign_add(
        np.random.default_rng(1).standard_normal((49, 16))
    )
    shifted = network.predict(np.roll(images, 4, axis=2), verbose=0)
    assert np.abs(shifted - network.predict(images, verbose=0)).max() > 1e-3


@pytest.mark.parametrize("key", attention.NETWORKS)
def test_error_of_an_untrained_classifier_is_about_nine_tenths(key):
    runner = attention.ClassifierRunner(key, seed=0, num_steps=10)
    assert runner.model.num_classes == 10
    assert 80 < attention.error(runner, 500) < 100


def test_table_of_attention_and_convolution_states_seeds_and_times(tmp_path):
    curves = {str(seed): [[15, 30, 12.0 + seed], [30, 60, 11.0]] for seed in attention.SEEDS}
    result = {"seconds_per_step": 0.5, "batch_size": 64, "machine": "tiny, 2 cores", "commit": "abc1234", "curves": curves}
    attention.write(tmp_path / "table.md", dict.fromkeys(attention.NETWORKS, result), 10_000, (15, 30))
    text = (tmp_path / "table.md").read_text()
    assert "Percentage of 10,000 test images" in text and "median (minimum to maximum) of 3 seeds" in text
    assert text.count("| 13.0 (12.0 to 14.0) | 11.0 |") == 2


# The leaderboard


def row(recipe="gan", late=9.0, **options):
    values = {
        "recipe": recipe, "label": recipe, "published": False, "batch_size": 64, "seconds_per_step": 0.07,
        "distances": {"60": [40.0, 33.0, 46.0], "600": [late] * 3},
        "end": {"distance": 7.74, "seconds": 1428.2, "steps": 8000, "bytes": 1_656_201},
        "commit": "abc1234", "table": None, "machine": "x86_64, 2 cores",
    }  # fmt: skip
    return {**values, **options}


def board_of(*rows):
    board = {"baseline": None, "classifier": None, "rows": []}
    for item in rows:
        board = leaderboard.insert(board, item, baseline=0.476, classifier="c0")
    return board


def recipes_of(board):
    return [item["recipe"] for item in board["rows"]]


def test_insertion_sorts_by_ten_minutes_and_then_by_one_minute():
    early = row("vae", late=20.0, distances={"60": [3.0] * 3})
    board = board_of(row("flow", 200.0), early, row("gan", 9.0), row("diffusion", 8.0))
    assert recipes_of(board) == ["diffusion", "gan", "flow", "vae"]


def test_insertion_replaces_the_row_of_the_same_recipe_and_keeps_the_others():
    board = board_of(row("gan", 9.0), row("vae", 100.0))
    before = copy.deepcopy(board)
    replaced = leaderboard.insert(board, row("vae", 5.0), baseline=0.476, classifier="c0")
    assert recipes_of(replaced) == ["vae", "gan"]
    assert replaced["rows"][1] == before["rows"][0]
    assert board == before
    assert leaderboard.insert(replaced, row("vae", 5.0), baseline=0.476, classifier="c0") == replaced


def test_insertion_refuses_distances_in_the_features_of_another_classifier():
    with pytest.raises(leaderboard.Refused, match="measure every row again"):
        leaderboard.insert(board_of(row()), row("vae"), baseline=0.476, classifier="c1")


def test_board_is_written_and_read_back(tmp_path):
    board = board_of(row(), row("dcgan", 615.0, label="DCGAN, TensorFlow's tutorial", published=True))
    leaderboard.write(board, tmp_path / "rows.json", tmp_path / "table.md")
    assert leaderboard.read(tmp_path / "rows.json") == board
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == leaderboard.table(board)
    assert leaderboard.read(tmp_path / "none.json")["rows"] == []


def test_table_shows_range_end_size_and_origin():
    assert leaderboard.line(row(machine="tiny")) == (
        "| `gan` | 64 images, 0.07 s | 40.0 (33.0 to 46.0) | 9.00 | 7.74 after 24 min | 1.7 MB | `abc1234` | tiny |"
    )


def test_table_has_a_dash_before_the_first_step_and_an_empty_cell_where_nothing_was_measured():
    published = row(
        "wgan_gp", label="WGAN-GP, keras.io", published=True, seconds_per_step=130.06, distances={}, end=None, commit=None,
        table="gan_time_to_quality.md",
    )  # fmt: skip
    assert leaderboard.line(published) == (
        "| WGAN-GP, keras.io | 64 images, 130.06 s | – |  |  |  | `gan_time_to_quality.md` | x86_64, 2 cores |"
    )


def test_numbers_of_a_cell():
    assert leaderboard.numbers("39.9 (32.9 to 46.1)") == [39.9, 32.9, 46.1]
    assert leaderboard.numbers("1,024") == [1024.0] * 3


TABLE = """\
Fréchet distance of 5,000 samples to the 10,000 test images of Fashion-MNIST, over seconds of training on x86_64, 2 cores; \
one seed. For 5,000 real training images it is 0.713. Time is measured.

| | one step | 15 s | 60 s | 10 min | 30 min |
|---|---:|---:|---:|---:|---:|
| `imggen train gan` | 64 images, 0.07 s | 134 | 39.9 (32.9 to 46.1) |  |  |
| WGAN-GP, keras.io | 512 images, 130.06 s |  |  | 1,655 | 630 |
"""


def test_published_row_is_read_from_a_table_of_another_benchmark():
    found = leaderboard.read_published("wgan_gp", TABLE)
    assert found["distances"] == {"600": [1655.0] * 3}
    assert (found["batch_size"], found["seconds_per_step"], found["machine"]) == (512, 130.06, "x86_64, 2 cores")
    assert (found["commit"], found["table"]) == (None, "gan_time_to_quality.md")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("5,000 samples", "1,000 samples"),
        (", over seconds", ", as a multiple of the floor, over seconds"),
        ("WGAN-GP", "W"),
    ],
)
def test_published_row_is_refused_from_a_table_that_measures_something_else(old, new):
    with pytest.raises(leaderboard.Refused, match="measure wgan_gp instead"):
        leaderboard.read_published("wgan_gp", TABLE.replace(old, new))


def test_published_rows_of_the_committed_tables_are_those_of_the_leaderboard():
    board = leaderboard.read(leaderboard.ROWS)
    again = leaderboard.insert_published(
        board, leaderboard.FOLDER, baseline=board["baseline"], classifier=board["classifier"]
    )
    assert again == board


def test_rows_measured_for_the_leaderboard_are_not_replaced_by_those_of_other_tables():
    own = row("dcgan", 1.0, published=True)
    board = leaderboard.insert_published(board_of(own), leaderboard.FOLDER, baseline=0.476, classifier="c0")
    assert board["rows"][0] == own and "wgan_gp" in recipes_of(board)


def test_committed_table_is_the_one_of_the_committed_rows():
    board = leaderboard.read(leaderboard.ROWS)
    assert leaderboard.TABLE.read_text(encoding="utf-8") == leaderboard.table(board)
    assert board["rows"] == sorted(board["rows"], key=leaderboard.rank)


@pytest.mark.parametrize("name", ["nonsense", "classifier", "marble_gan"])
def test_unknown_recipe_and_recipes_for_other_images_are_refused(name):
    with pytest.raises(leaderboard.Refused, match=r"expected one of .*gan.*, or published dcgan"):
        leaderboard.check_name(name)


@pytest.mark.parametrize("name", ["gan", "diffusion", "dcgan", "ddim"])
def test_recipes_for_fashion_mnist_and_published_ones_are_accepted(name):
    leaderboard.check_name(name)


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-qm", "first")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text"), [("code.py", "a = 2\n"), ("new.py", "b = 1\n"), ("benchmarks/leaderboard.py", "")]
)
def test_tree_with_changes_is_refused(repository, file, text):
    (repository / file).write_text(text)
    with pytest.raises(leaderboard.Refused, match=f"does not contain {file}; commit or remove"):
        leaderboard.check_tree(repository)


def test_clean_tree_and_changes_of_the_leaderboard_itself_are_accepted(repository):
    leaderboard.check_tree(repository)
    for name in ("leaderboard.md", "leaderboard.json"):
        (repository / "benchmarks" / name).write_text("x")
    leaderboard.check_tree(repository)


def test_folder_without_a_repository_is_refused(tmp_path):
    with pytest.raises(leaderboard.Refused, match="not a git repository"):
        leaderboard.check_tree(tmp_path)


def test_missing_dataset_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGGEN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["leaderboard.py", "gan", "--trial"])
    with pytest.raises(SystemExit, match=f"leaderboard: {tmp_path} lacks"):
        leaderboard.main()


def test_end_is_the_record_of_the_shipped_weights():
    record = pretrained.record("gan")
    end = leaderboard.end_of("gan", None, None)
    assert end["seconds"] == record["seconds"] and end["steps"] == record["steps"]
    assert f"{end['distance']:.3g}" in record["quality"]
    assert end["bytes"] <= leaderboard.LARGEST_FILE
    assert leaderboard.end_of("dcgan", None, None) is None


def test_end_is_refused_for_weights_of_another_recipe_or_too_large_a_file(tmp_path, monkeypatch):
    weights = ROOT / "data" / "weights" / "gan.npz"
    with pytest.raises(leaderboard.Refused, match="those of gan .* expected vae without settings"):
        leaderboard.end_of("vae", weights, None)
    with pytest.raises(leaderboard.Refused, match=r"expected a \.npz file"):
        leaderboard.end_of("gan", tmp_path / "gan.keras", None)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        leaderboard.end_of("gan", tmp_path / "gan.npz", None)
    monkeypatch.setattr(leaderboard, "LARGEST_FILE", 1_000_000)
    with pytest.raises(leaderboard.Refused, match=r"have 1\.\d MB; at most 1 MB are allowed"):
        leaderboard.end_of("gan", weights, None)


def test_distance_of_another_number_of_samples_is_not_taken_from_a_record():
    measures = {"distance": 3.0, "baseline": 0.5}
    quality = "Fréchet distance 3 at n = {} (as many real images: 0.5)"
    assert leaderboard.recorded_distance({"quality": quality.format("5,000"), "measures": measures}) == 3.0
    assert leaderboard.recorded_distance({"quality": quality.format("1,000"), "measures": measures}) is None
    assert leaderboard.recorded_distance({}) is None


def result_of(**curves):
    facts = {"batch_size": 8, "seconds_per_step": 2.0, "machine": "m", "commit": "abc1234"}
    return {key: {**facts, "curves": found} for key, found in curves.items()}


def test_row_of_a_recipe_takes_each_budget_from_its_own_training():
    results = result_of(**{
        "gan-60s": {"0": [[60, 30, 40.0]], "1": [[60, 30, 44.0]], "2": [[60, 30, 50.0]]},
        "gan-600s": {"0": [[600, 300, 9.0]], "1": [[600, 300, 7.0]], "2": [[600, 300, 8.0]]},
    })  # fmt: skip
    assert leaderboard.row_of("gan", results, None)["distances"] == {"60": [44.0, 40.0, 50.0], "600": [8.0, 7.0, 9.0]}


def test_row_of_a_published_recipe_takes_both_budgets_from_one_training():
    results = result_of(published={"0": [[600, 4, 655.0]]})
    found = leaderboard.row_of("wgan_gp", results, None)
    assert found["distances"] == {"600": [655.0] * 3} and found["published"]
    assert found["label"] == "WGAN-GP, keras.io"


def test_each_budget_of_a_recipe_is_an_entry_with_a_schedule_and_published_recipes_have_none():
    own = leaderboard.entries_of("gan", (0, 1))
    assert {key: (item.seconds, item.points, item.scheduled) for key, item in own.items()} == {
        "gan-60s": (60, (60,), True),
        "gan-600s": (600, (600,), True),
    }
    (published,) = leaderboard.entries_of("dcgan", (0,)).values()
    assert (published.seconds, published.points, published.scheduled) == (600, None, False)


def test_rows_of_families_come_from_the_race_at_equal_time(monkeypatch):
    monkeypatch.setattr(leaderboard, "end_of", lambda name, weights, dataset: None)
    monkeypatch.setattr(race, "real_data_distance", lambda: 0.5)
    results, empty = equal_time_results(), {"baseline": None, "classifier": None, "rows": []}
    board = leaderboard.insert_families(empty, results)
    assert {row["recipe"] for row in board["rows"]} == set(equal_time.MODELS)
    assert all(row["distances"] == {"60": [10.0, 9.0, 11.0], "600": [4.0, 3.0, 5.0]} for row in board["rows"])
    results["flow-600s"]["curves"] = {}
    assert leaderboard.insert_families(empty, results)["rows"] == []


# Shipped models


def shipped_row(sha256="s0", *, distance=7.0, bits=None):
    return {
        "sha256": sha256, "commit": "abc1234", "conditional": False,
        "frechet": {"classifier": distance, "second_classifier": 0.1234, "image_statistics": 0.02},
        "precision": 0.78, "recall": 0.66, "density": 0.9, "coverage": 0.7,
        "nearest": {space: {"relative": 0.97, "closer": 0.006} for space in shipped_models.NEIGHBOUR_SPACES},
        "bits": bits,
    }  # fmt: skip


def shipped_board(models, second="d0"):
    real = shipped_row(distance=0.713)
    return {
        "images": 5000, "extractors": {"classifier": "c0", "second_classifier": second}, "variation": [0.43, 0.71],
        "real": {key: real[key] for key in ("frechet", *shipped_models.NEIGHBOUR_MEASURES)}, "models": models,
    }  # fmt: skip


def test_measured_rows_replace_kept_ones_and_rows_of_other_weights_are_dropped():
    kept = shipped_board({"gan": shipped_row("old"), "vae": shipped_row("v0"), "flow": shipped_row("stale")})
    new = shipped_board({"gan": shipped_row("g1", distance=5.0)})
    merged = shipped_models.merge(kept, new, {"gan": "g1", "vae": "v0", "flow": "f1"})
    assert {name: item["sha256"] for name, item in merged["models"].items()} == {"gan": "g1", "vae": "v0"}
    assert shipped_models.merge(None, new, {})["models"] == new["models"]


def test_rows_in_the_features_of_another_classifier_are_not_kept():
    kept, new = shipped_board({"vae": shipped_row()}), shipped_board({"gan": shipped_row()}, second="d1")
    with pytest.raises(SystemExit, match="differ in extractors .* measure all models"):
        shipped_models.merge(kept, new, {"vae": "s0"})


def test_a_row_is_measured_again_after_a_change_of_weights_or_code(monkeypatch):
    monkeypatch.setattr(race, "commit", lambda: "abc1234")
    assert shipped_models.is_current(shipped_row("s0"), "s0")
    assert not shipped_models.is_current(shipped_row("s0"), "s1")
    assert not shipped_models.is_current(None, "s0")
    monkeypatch.setattr(race, "commit", lambda: "fffffff")
    assert not shipped_models.is_current(shipped_row("s0"), "s0")


def test_tables_of_shipped_models_have_distances_and_a_row_for_real_images():
    board = shipped_board({
        "gan": shipped_row(distance=7.736),
        "pixelcnn": shipped_row(bits={"mean": 2.871, "bound": False}),
        "vae": shipped_row(distance=139.03, bits={"mean": 6.849, "bound": True}),
    })  # fmt: skip
    text = shipped_models.tables(board, shipped_models.Scale())
    assert [line for line in text.splitlines() if line.startswith("| ") and "---" not in line] == [
        "| model | classifier | second classifier | image statistics | precision | recall | density | coverage "
        "| bits per dimension |",
        "| real training images | 0.713 | 0.123 | 0.02 | 0.78 | 0.66 | 0.90 | 0.70 |  |",
        "| `gan` | 7.74 | 0.123 | 0.02 | 0.78 | 0.66 | 0.90 | 0.70 |  |",
        "| `pixelcnn` | 7 | 0.123 | 0.02 | 0.78 | 0.66 | 0.90 | 0.70 | 2.87 |",
        "| `vae` | 139 | 0.123 | 0.02 | 0.78 | 0.66 | 0.90 | 0.70 | ≤ 6.85 |",
        "| model | pixels | classifier | image statistics |",
        *(f"| `{name}` | 0.97, 0.6% | 0.97, 0.6% | 0.97, 0.6% |" for name in ("gan", "pixelcnn", "vae")),
    ]
    assert "multiple" not in text and "is 0.43 to 0.71" in text


def test_copies_are_closer_than_test_images(rng):
    gallery, tests = rng.normal(size=(300, 5)), rng.normal(size=(200, 5))
    usual = shipped_models.nearest_distances(tests, gallery)
    same = shipped_models.compare_nearest(usual, usual)
    assert same["relative"] == 1 and same["closer"] == pytest.approx(0.01, abs=0.006)
    copies = shipped_models.nearest_distances(gallery[:50], gallery)
    assert shipped_models.compare_nearest(copies, usual) == {"relative": 0.0, "closer": 1.0}


def test_set_measures_are_best_for_the_reference_itself(rng):
    images = rng.uniform(size=(40, 4, 4, 1)).astype("float32")
    extractors = dict.fromkeys(shipped_models.SPACES, shipped_models.flat)
    reference = {space: shipped_models.flat(images) for space in extractors}
    found = shipped_models.set_measures(images, extractors, reference)
    assert max(found["frechet"].values()) < 1e-6
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_models_without_a_likelihood_have_no_bits(clothes):
    model = types.SimpleNamespace(num_classes=None)
    assert shipped_models.bits_per_dimension(model, clothes, 4) is None


def test_shipped_generative_models_of_clothes_are_measured():
    names = shipped_models.shipped()
    assert {"gan", "vae", "flow", "pixelcnn", "diffusion"} <= set(names)
    assert "classifier" not in names and not any(name.startswith("marble") for name in names)


def test_median_and_range():
    result = {"curves": {"0": [[60, 1, 3.0]], "1": [[60, 1, 1.0]], "2": [[60, 1, 2.0], [600, 9, 0.5]]}}
    assert race.median_and_range(result, 60) == (statistics.median([3.0, 1.0, 2.0]), 1.0, 3.0)
    assert race.median_and_range(result, 300) is None
