// The figure "gan_plane": a GAN in the plane is trained in the page. Networks, losses, penalties and Adam are written out; the tests
// compare their gradients and steps with Keras.
"use strict";

(() => {
  // --- Networks -------------------------------------------------------------------------------------------------------------------

  // Dense layers with LeakyReLU(0.2) between them. `weights` holds, for each layer, the matrix (inputs x outputs, as in Keras) and the bias.
  const LEAK = 0.2;

  class Network {
    constructor(sizes, random) {
      this.sizes = sizes;
      this.layers = [];
      let count = 0;
      for (let l = 1; l < sizes.length; l++) {
        this.layers.push({ inputs: sizes[l - 1], outputs: sizes[l], matrix: count, bias: count + sizes[l - 1] * sizes[l] });
        count += (sizes[l - 1] + 1) * sizes[l];
      }
      this.weights = new Float32Array(count);
      this.gradient = new Float32Array(count);
      for (const { inputs, outputs, matrix, bias } of this.layers) {
        const limit = Math.sqrt(6 / (inputs + outputs));  // Glorot and Bengio's, as in Keras
        for (let k = matrix; k < bias; k++) this.weights[k] = limit * (2 * random() - 1);
      }
    }

    // Keep one array per layer for n points, so that a step allocates no memory.
    reserve(n) {
      if (this.rows === n) return;
      this.rows = n;
      this.values = this.sizes.map(size => new Float32Array(n * size));
      this.deltas = this.sizes.map(size => new Float32Array(n * size));
      this.tangents = this.sizes.map(size => new Float32Array(n * size));
    }

    // Return the outputs (n x the last size) for n points.
    forward(points) {
      const n = points.length / this.sizes[0];
      this.reserve(n);
      this.values[0].set(points);
      this.layers.forEach((layer, l) => {
        this.multiply(layer, this.values[l], this.values[l + 1], true);
        if (l + 1 < this.layers.length) this.bend(this.values[l + 1], this.values[l + 1]);
      });
      return this.values.at(-1);
    }

    multiply({ inputs, outputs, matrix, bias }, from, to, withBias) {
      const w = this.weights;
      for (let r = 0; r < this.rows; r++) {
        const start = r * outputs;
        for (let o = 0; o < outputs; o++) to[start + o] = withBias ? w[bias + o] : 0;
        for (let i = 0; i < inputs; i++) {
          const value = from[r * inputs + i], row = matrix + i * outputs;
          for (let o = 0; o < outputs; o++) to[start + o] += value * w[row + o];
        }
      }
    }

    // Multiply by the slope of LeakyReLU. Values have the sign of what went into it, so `values` decides.
    bend(array, values) {
      for (let k = 0; k < array.length; k++) if (values[k] < 0) array[k] *= LEAK;
    }

    // From the gradient of a loss with respect to the outputs of the last forward(), return that with respect to the points, and add
    // that with respect to the weights to `gradient`, unless `weights` is false.
    backward(outputGradient, weights = true) {
      this.deltas.at(-1).set(outputGradient);
      for (let l = this.layers.length - 1; l >= 0; l--) {
        const { inputs, outputs, matrix, bias } = this.layers[l];
        const delta = this.deltas[l + 1], below = this.deltas[l], w = this.weights;
        if (weights) {
          this.addProducts(this.layers[l], this.values[l], delta);
          for (let k = 0; k < delta.length; k++) this.gradient[bias + (k % outputs)] += delta[k];
        }
        for (let r = 0; r < this.rows; r++) {
          for (let i = 0; i < inputs; i++) {
            let sum = 0;
            for (let o = 0; o < outputs; o++) sum += delta[r * outputs + o] * w[matrix + i * outputs + o];
            below[r * inputs + i] = sum;
          }
        }
        if (l > 0) this.bend(below, this.values[l]);
      }
      return this.deltas[0];
    }

    addProducts({ inputs, outputs, matrix }, values, delta) {
      const g = this.gradient;
      for (let r = 0; r < this.rows; r++) {
        for (let i = 0; i < inputs; i++) {
          const value = values[r * inputs + i], row = matrix + i * outputs;
          for (let o = 0; o < outputs; o++) g[row + o] += value * delta[r * outputs + o];
        }
      }
    }

    // Add the gradient, with respect to the weights, of a penalty on the slopes of a network with one output. `derivative` takes the
    // slopes (n x inputs) and returns the penalty and its derivative v with respect to each slope. The slope in the direction v is
    // the product of the layers applied to v, and LeakyReLU has no second derivative, so each matrix receives v, carried forward to its
    // input, times the delta at its output.
    penalise(points, derivative) {
      this.forward(points);
      const slopes = this.backward(new Float32Array(this.rows).fill(1), false);
      const { value, direction } = derivative(slopes);
      this.tangents[0].set(direction);
      this.layers.forEach((layer, l) => {
        this.addProducts(layer, this.tangents[l], this.deltas[l + 1]);
        this.multiply(layer, this.tangents[l], this.tangents[l + 1], false);
        if (l + 1 < this.layers.length) this.bend(this.tangents[l + 1], this.values[l + 1]);
      });
      return value;
    }
  }

  // Kingma and Ba's optimizer, as in Keras.
  class Adam {
    constructor(size, { rate, beta1, beta2 = 0.999, epsilon = 1e-7 }) {
      Object.assign(this, { rate, beta1, beta2, epsilon, steps: 0, mean: new Float32Array(size), square: new Float32Array(size) });
    }

    step(weights, gradient) {
      const { rate, beta1, beta2, epsilon, mean, square } = this;
      this.steps++;
      const corrected = (rate * Math.sqrt(1 - beta2 ** this.steps)) / (1 - beta1 ** this.steps);
      for (let k = 0; k < weights.length; k++) {
        mean[k] += (1 - beta1) * (gradient[k] - mean[k]);
        square[k] += (1 - beta2) * (gradient[k] ** 2 - square[k]);
        weights[k] -= (corrected * mean[k]) / (Math.sqrt(square[k]) + epsilon);
      }
    }
  }

  class GradientDescent {
    constructor(size, { rate }) {
      this.rate = rate;
    }

    step(weights, gradient) {
      for (let k = 0; k < weights.length; k++) weights[k] -= this.rate * gradient[k];
    }
  }

  // --- Losses: of one output, or of a pair of a real and a generated one. All are means over the batch. ---------------------------

  const sigmoid = x => 1 / (1 + Math.exp(-x));
  const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  // [value, derivative] for the real and the generated outputs of the discriminator, and for the generated ones of the generator.
  const crossEntropy = {
    real: f => [softplus(-f), -sigmoid(-f)],
    fake: f => [softplus(f), sigmoid(f)],
  };
  const losses = {
    minimax: { ...crossEntropy, generator: f => [-softplus(f), -sigmoid(f)] },
    non_saturating: { ...crossEntropy, generator: f => [softplus(-f), -sigmoid(-f)] },
    least_squares: {
      real: f => [(f - 1) ** 2 / 2, f - 1],
      fake: f => [f ** 2 / 2, f],
      generator: f => [(f - 1) ** 2 / 2, f - 1],
    },
    wasserstein: { real: f => [-f, -1], fake: f => [f, 1], generator: f => [-f, -1] },
    // A function of the output on a generated point minus that on a real one.
    relativistic: { pair: d => [softplus(d), sigmoid(d)], generatorPair: d => [softplus(-d), -sigmoid(-d)] },
  };

  // Return the discriminator's loss and its derivatives with respect to the outputs.
  function discriminatorLoss(name, real, fake) {
    const loss = losses[name], n = real.length;
    const result = { value: 0, real: new Float32Array(n), fake: new Float32Array(n) };
    for (let k = 0; k < n; k++) {
      if (loss.pair) {
        const [value, derivative] = loss.pair(fake[k] - real[k]);
        result.value += value / n;
        result.real[k] = -derivative / n;
        result.fake[k] = derivative / n;
      } else {
        const [onReal, ofReal] = loss.real(real[k]), [onFake, ofFake] = loss.fake(fake[k]);
        result.value += (onReal + onFake) / n;
        result.real[k] = ofReal / n;
        result.fake[k] = ofFake / n;
      }
    }
    return result;
  }

  // Return the generator's loss and its derivative with respect to the outputs on generated points.
  function generatorLoss(name, real, fake) {
    const loss = losses[name], n = fake.length;
    const result = { value: 0, fake: new Float32Array(n) };
    for (let k = 0; k < n; k++) {
      const [value, derivative] = loss.pair ? loss.generatorPair(fake[k] - real[k]) : loss.generator(fake[k]);
      result.value += value / n;
      result.fake[k] = derivative / n;
    }
    return result;
  }

  // Penalties on the slopes (n x 2) of the discriminator: the value, and its derivative with respect to each slope.
  const penalties = {
    r1: slopes => {
      const n = slopes.length / 2;
      let value = 0;
      for (const slope of slopes) value += slope ** 2 / (2 * n);
      return { value, direction: slopes.map(slope => slope / n) };
    },
    gradient: slopes => {
      const n = slopes.length / 2, direction = new Float32Array(2 * n);
      let value = 0;
      for (let k = 0; k < 2 * n; k += 2) {
        const length = Math.sqrt(slopes[k] ** 2 + slopes[k + 1] ** 2 + 1e-12);
        value += (length - 1) ** 2 / n;
        for (const part of [k, k + 1]) direction[part] = (2 * (length - 1) * slopes[part]) / (length * n);
      }
      return { value, direction };
    },
  };

  // Fill the discriminator's gradient for one batch and return its loss, without the penalty. `fraction` has a number in [0, 1] for each
  // pair: where, between a generated and a real point, the gradient penalty looks.
  function discriminatorGradient(discriminator, { real, fake, fraction }, { loss, penalty, weight }) {
    const both = new Float32Array(real.length + fake.length);
    both.set(real);
    both.set(fake, real.length);
    discriminator.gradient.fill(0);
    const n = real.length / 2;
    if (penalties[penalty]) {
      const points = penalty === "r1" ? real : real.map((x, k) => fraction[k >> 1] * x + (1 - fraction[k >> 1]) * fake[k]);
      discriminator.penalise(points, slopes => {
        const { value, direction } = penalties[penalty](slopes);
        return { value, direction: direction.map(part => weight * part) };
      });
    }
    const outputs = discriminator.forward(both);
    const found = discriminatorLoss(loss, outputs.subarray(0, n), outputs.subarray(n));
    const outputGradient = new Float32Array(2 * n);
    outputGradient.set(found.real);
    outputGradient.set(found.fake, n);
    discriminator.backward(outputGradient);
    return found.value;
  }

  // Fill the generator's gradient for one batch; return its loss and the gradient of the loss at each generated point.
  function generatorGradient(generator, discriminator, { real, latent }, { loss }) {
    const fake = generator.forward(latent);
    const onReal = losses[loss].pair ? discriminator.forward(real).slice() : null;
    const found = generatorLoss(loss, onReal, discriminator.forward(fake));
    const points = discriminator.backward(found.fake, false);
    generator.gradient.fill(0);
    generator.backward(points);
    return { value: found.value, points };
  }

  // --- Data -----------------------------------------------------------------------------------------------------------------------

  // Functions from random numbers to one point.
  const datasets = {
    ring: ({ uniform, normal }) => {
      const angle = (Math.PI / 4) * Math.floor(8 * uniform());
      return [1.5 * Math.cos(angle) + 0.06 * normal(), 1.5 * Math.sin(angle) + 0.06 * normal()];
    },
    moons: ({ uniform, normal }) => {
      const angle = Math.PI * uniform(), upper = uniform() < 0.5;
      const [x, y] = upper ? [Math.cos(angle) - 0.5, Math.sin(angle) - 0.25] : [0.5 - Math.cos(angle), 0.25 - Math.sin(angle)];
      return [1.3 * x + 0.08 * normal(), 1.3 * y + 0.08 * normal()];
    },
    spiral: ({ uniform, normal }) => {
      const part = Math.sqrt(uniform()), angle = 3 * Math.PI * part;
      return [1.8 * part * Math.cos(angle) + 0.05 * normal(), 1.8 * part * Math.sin(angle) + 0.05 * normal()];
    },
  };

  // n points (n x 2) of a data set, or near the points that a reader has drawn.
  function samplePoints(n, source, random) {
    const points = new Float32Array(2 * n);
    for (let k = 0; k < n; k++) {
      let point;
      if (typeof source === "string") point = datasets[source](random);
      else point = source[Math.floor(source.length * random.uniform())].map(part => part + 0.05 * random.normal());
      points.set(point, 2 * k);
    }
    return points;
  }

  // The shares of generated points near some real point, and of real points near some generated one.
  function precisionRecall(real, fake, radius) {
    const near = (points, others) => {
      let count = 0;
      for (let k = 0; k < points.length; k += 2) {
        for (let m = 0; m < others.length; m += 2) {
          if ((points[k] - others[m]) ** 2 + (points[k + 1] - others[m + 1]) ** 2 < radius ** 2) {
            count++;
            break;
          }
        }
      }
      return count / (points.length / 2);
    };
    return { precision: near(fake, real), recall: near(real, fake) };
  }

  // --- Training -------------------------------------------------------------------------------------------------------------------

  class Training {
    constructor(settings, source, seed) {
      this.settings = settings;
      this.source = source;
      this.random = imggenLive.random(seed);
      const { width = 32, offset = 0 } = settings;
      this.generator = new Network([2, width, width, 2], this.random.uniform);
      this.discriminator = new Network([2, width, width, 1], this.random.uniform);
      // An offset of the last bias starts the generator away from the data.
      this.generator.weights.set([-offset, -offset], this.generator.layers.at(-1).bias);
      const Optimizer = settings.optimizer === "adam" ? Adam : GradientDescent;
      const optimizer = (network, rate) => new Optimizer(network.weights.length, { rate, beta1: settings.beta1 });
      this.optimizers = {
        generator: optimizer(this.generator, settings.generatorRate),
        discriminator: optimizer(this.discriminator, settings.discriminatorRate),
      };
      this.steps = 0;
      this.leading = settings.lead;
      this.batch = 64;
    }

    latent(n) {
      return this.random.normals(2 * n);
    }

    discriminatorStep() {
      const real = samplePoints(this.batch, this.source, this.random);
      const fake = this.generator.forward(this.latent(this.batch));
      const fraction = Float32Array.from({ length: this.batch }, this.random.uniform);
      this.discriminatorLoss = discriminatorGradient(this.discriminator, { real, fake, fraction }, this.settings);
      this.optimizers.discriminator.rate = this.settings.discriminatorRate;
      this.optimizers.discriminator.step(this.discriminator.weights, this.discriminator.gradient);
    }

    // One round: some steps of the discriminator, then one of the generator. Before the first round the discriminator can be trained
    // alone, so that it is ahead.
    step() {
      if (this.leading > 0) {
        this.leading--;
        this.discriminatorStep();
        return;
      }
      for (let k = 0; k < this.settings.discriminatorSteps; k++) this.discriminatorStep();
      const real = samplePoints(this.batch, this.source, this.random);
      const latent = this.latent(this.batch);
      this.generatorLoss = generatorGradient(this.generator, this.discriminator, { real, latent }, this.settings).value;
      this.optimizers.generator.rate = this.settings.generatorRate;
      this.optimizers.generator.step(this.generator.weights, this.generator.gradient);
      this.steps++;
    }
  }

  (imggenLive.core ??= {}).gan_plane = {
    Network, Adam, GradientDescent, Training, discriminatorGradient, generatorGradient, samplePoints, precisionRecall,
  };

  // --- The figure ---------------------------------------------------------------------------------------------------------------

  const EXTENT = 2.5;  // the plane is shown from -2.5 to 2.5
  const FIELD = 64;  // the discriminator's output is computed on so many by so many points
  const SHOWN = 256;  // generated points that are shown, always from the same latent vectors
  const NEAR = 0.15;

  const BALANCED = {
    data: "ring", loss: "non_saturating", penalty: "none", weight: 0.1, optimizer: "adam", beta1: 0.5,
    discriminatorRate: 0.002, generatorRate: 0.002, discriminatorSteps: 1, lead: 0, offset: 0,
  };
  // For each experiment: its name, what differs from balanced training, and what to look for.
  const PRESETS = {
    balanced: ["Balanced training", {}, "The generated points spread over the plane and gather in the eight clusters."],
    wasserstein: [
      "Wasserstein loss with gradient penalty",
      { loss: "wasserstein", penalty: "gradient", weight: 1, discriminatorSteps: 3 },
      "The penalty keeps the slope of the critic near 1, so the generated points receive gradients of similar length everywhere.",
    ],
    collapse: [
      "Failure: mode collapse",
      { generatorRate: 0.01, discriminatorRate: 0.001 },
      "All generated points gather in one or two clusters. When the discriminator rejects these, the points move on together. Lower the generator's learning rate and raise the discriminator's.",
    ],
    oscillation: [
      "Failure: oscillation",
      { generatorRate: 0.005, discriminatorRate: 0.005, beta1: 0.9 },
      "Adam's momentum of 0.9 carries the points past the clusters again and again. Set the momentum to 0 under “More settings”.",
    ],
    vanishing: [
      "Failure: vanishing gradients",
      { loss: "minimax", optimizer: "gradient", discriminatorRate: 0.32, generatorRate: 0.004, discriminatorSteps: 5, lead: 500, offset: 2 },
      "The discriminator is trained alone first and rejects every generated point. The minimax loss then has almost no gradient, and the points hardly move. Set the loss to “Non-saturating”.",
    ],
  };

  // Colours of real and generated points, and of the field where the output is high and low, on a light and on a dark page.
  const COLOURS = {
    light: { real: "#0062a3", fake: "#c44f00", high: [168, 208, 240], middle: [255, 255, 255], low: [250, 208, 168], arrow: "#3a3a3a" },
    dark: { real: "#7cc4ff", fake: "#ffb066", high: [22, 62, 98], middle: [24, 28, 34], low: [94, 52, 14], arrow: "#e8e8e8" },
  };

  imggenLive.core.gan_plane.presets = Object.fromEntries(Object.entries(PRESETS).map(([name, [, changes]]) => [name, { ...BALANCED, ...changes }]));

  const theme = () => COLOURS[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];

  const exponential = power => Number((10 ** power).toPrecision(2));

  function start(root, tools) {
    let training, seed = 1, running = true, history = [], drawn, cursor = null, measured = {};
    const latent = imggenLive.random(7).normals(2 * SHOWN);

    // --- Controls ---

    const stage = tools.stage();
    stage.classList.add("live-plane");
    const plane = tools.canvas(document.createElement("div"), { label: "", title: "Round 0", width: 640, height: 640 });
    const box = plane.element.closest(".live-panel").parentElement, side = document.createElement("div");
    stage.append(box, side);
    const table = document.createElement("table");
    table.className = "live-table";
    table.append(document.createElement("tbody"));
    let legend = document.createElement("p");
    side.append(legend, table);
    const chart = tools.canvas(side, {
      title: "Precision (line) and recall (dashes)", label: "Precision and recall over the rounds; the table has the last values", width: 480, height: 180,
    });
    const row = name => {
      const line = table.tBodies[0].insertRow();
      line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }), document.createElement("td"));
      return line.cells[1];
    };
    const cells = {
      steps: row("round"), precision: row("precision"), recall: row("recall"), discriminator: row("discriminator loss"),
      generator: row("generator loss"), gradient: row("mean gradient at generated points"),
    };

    const first = tools.row();
    const preset = tools.select(first, {
      name: "preset", label: "Experiment", value: "balanced", options: Object.entries(PRESETS).map(([name, [title]]) => [name, title]), onChange: choose,
    });
    const runButton = tools.button(first, "Pause", () => run(!running));
    tools.button(first, "One round", () => {
      run(false);
      advance(1);
      draw();
    });
    tools.button(first, "Restart", restart);
    tools.button(first, "Other start weights", () => {
      seed++;
      restart();
    });

    const { presets } = imggenLive.core.gan_plane, initial = presets[preset.value];
    const second = tools.row("Data and loss");
    const controls = {};
    controls.data = tools.select(second, {
      name: "data", label: "Data", value: initial.data, onChange: restart,
      options: [["ring", "Ring of eight clusters"], ["moons", "Two moons"], ["spiral", "Spiral"], ["drawn", "Draw your own"]],
    });
    const clear = tools.button(second, "Clear the drawing", () => {
      drawn = [];
      restart();
    });
    controls.loss = tools.select(second, {
      name: "loss", label: "Loss", value: initial.loss, onChange: adjust,
      options: [
        ["non_saturating", "Non-saturating"], ["minimax", "Minimax"], ["least_squares", "Least squares"], ["wasserstein", "Wasserstein"], ["relativistic", "Relativistic"],
      ],
    });
    controls.penalty = tools.select(second, {
      name: "penalty", label: "Penalty", value: initial.penalty, onChange: adjust,
      options: [["none", "None"], ["r1", "R1, at the data"], ["gradient", "Gradient penalty"]],
    });
    const logarithmic = (parent, name, label, low, high) => {
      const slider = tools.slider(parent, {
        name, label, min: low, max: high, step: 0.1, value: Math.log10(initial[name]), format: power => String(exponential(power)), onChange: adjust,
      });
      return { element: slider.element, get value() { return exponential(slider.value); }, set: value => slider.set(Math.log10(value)) };
    };
    controls.weight = logarithmic(second, "weight", "Weight of the penalty", -2, 1);

    const third = tools.row("Updates");
    controls.discriminatorRate = logarithmic(third, "discriminatorRate", "Learning rate, discriminator", -4, 0);
    controls.generatorRate = logarithmic(third, "generatorRate", "Learning rate, generator", -4, 0);
    controls.discriminatorSteps = tools.slider(third, {
      name: "discriminatorSteps", label: "Discriminator steps per round", min: 1, max: 10, value: initial.discriminatorSteps, onChange: adjust,
    });

    const more = document.createElement("details");
    more.append(Object.assign(document.createElement("summary"), { textContent: "More settings" }));
    root.append(more);
    const fourth = tools.row("Start and optimizer");
    controls.optimizer = tools.select(fourth, {
      name: "optimizer", label: "Optimizer", value: initial.optimizer, options: [["adam", "Adam"], ["gradient", "Gradient descent"]], onChange: restart,
    });
    controls.beta1 = tools.slider(fourth, {
      name: "beta1", label: "Adam's momentum β₁", min: 0, max: 0.9, step: 0.1, value: initial.beta1, format: value => value.toFixed(1), onChange: restart,
    });
    controls.lead = tools.slider(fourth, {
      name: "lead", label: "Discriminator steps before the start", min: 0, max: 500, step: 100, value: initial.lead, onChange: restart,
    });
    controls.offset = tools.slider(fourth, {
      name: "offset", label: "Offset of the generator at the start", min: 0, max: 2, step: 0.5, value: initial.offset, onChange: restart,
    });
    const fifth = tools.row("Display");
    const speed = tools.slider(fifth, { name: "speed", label: "Rounds per repaint, at most", min: 1, max: 20, value: 10 });
    const showField = tools.checkbox(fifth, { name: "field", label: "Output of the discriminator", value: true, onChange: draw });
    const showArrows = tools.checkbox(fifth, { name: "arrows", label: "Arrows: descent of the generator's loss", value: true, onChange: draw });
    more.append(fourth, fifth);

    // The drawing is stored in the link in steps of 0.05, at most 300 points of it.
    const linkedPoints = tools.setting("points", "", () => drawn.slice(0, 300).map(point => point.map(part => Math.round(20 * part))).join("_"));
    const pairs = linkedPoints.split("_").map(pair => pair.split(",").map(Number));
    drawn = pairs.filter(pair => pair.length === 2 && pair.every(Number.isFinite)).map(pair => pair.map(part => part / 20));

    // --- Training ---

    function settings() {
      return Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));
    }

    const drawing = () => controls.data.value === "drawn";

    function restart() {
      const { data, ...rest } = settings();
      clear.hidden = !drawing();
      controls.weight.element.parentElement.hidden = controls.penalty.value === "none";
      controls.beta1.element.parentElement.hidden = controls.optimizer.value !== "adam";
      plane.element.tabIndex = drawing() ? 0 : -1;
      Object.assign(plane.element.style, drawing() ? { touchAction: "none", cursor: "crosshair" } : { touchAction: "", cursor: "" });
      plane.element.setAttribute("role", drawing() ? "application" : "img");
      plane.element.setAttribute("aria-label", drawing()
        ? "Plane for your data. Arrow keys move the cross, Space adds a point, Backspace removes the last one."
        : "Data and generated points in the plane; the table beside it describes them");
      history = [];
      cursor = drawing() ? [0, 0] : null;
      training = null;
      if (drawing() && drawn.length < 2) {
        tools.say("Draw the data in the plane with mouse, finger or pen. With the keyboard, go back to the plane with Shift + Tab and use the arrow keys and Space. A finger scrolls the page only outside the plane.");
        plane.title("Draw your data here");
        for (const cell of Object.values(cells)) cell.textContent = "";
        return draw();
      }
      training = new Training(rest, drawing() ? drawn : data, seed);
      const [, , hint] = PRESETS[preset.value];
      tools.say(data === presets[preset.value].data ? hint : "");
      measure();
      draw();
    }

    // What can change while the training continues.
    function adjust() {
      controls.weight.element.parentElement.hidden = controls.penalty.value === "none";
      if (training) Object.assign(training.settings, settings());
      draw();
    }

    function choose(name) {
      for (const [key, value] of Object.entries(presets[name])) controls[key].set(value);
      restart();
      run(true);
    }

    function run(on) {
      running = on;
      runButton.textContent = on ? "Pause" : "Run";
      if (!on && training) tools.say(`Round ${training.steps}: precision ${percent(measured.precision)}, recall ${percent(measured.recall)}.`);
    }

    const percent = share => `${Math.round(100 * share)} %`;

    function advance(steps, milliseconds = Infinity) {
      if (!training) return;
      const begin = performance.now();
      for (let k = 0; k < steps && performance.now() - begin < milliseconds; k++) {
        training.step();
        if (training.steps % 20 === 0 && !training.leading) measure();
      }
      if (!Number.isFinite(training.discriminatorLoss + (training.generatorLoss ?? 0))) {
        run(false);
        tools.say("The training has diverged: the weights are too large to be numbers. Lower the learning rates and restart.");
      }
    }

    // Compare as many points of the data with the points that are shown.
    function measure() {
      const real = samplePoints(SHOWN, training.source, imggenLive.random(training.steps));
      measured = precisionRecall(real, training.generator.forward(latent).slice(), NEAR);
      measured.real = real;
      history.push([training.steps, measured.precision, measured.recall]);
      // Half of the points are enough, so the memory does not grow.
      if (history.length > 400) history = history.filter((_, k) => k % 2 === 0);
    }

    // --- Drawing ---

    const pixel = part => ((part + EXTENT) / (2 * EXTENT)) * 640;
    const place = (x, y) => [pixel(x), 640 - pixel(y)];
    const grid = new Float32Array(2 * FIELD * FIELD);
    for (let k = 0; k < FIELD * FIELD; k++) {
      grid[2 * k] = (((k % FIELD) + 0.5) / FIELD - 0.5) * 2 * EXTENT;
      grid[2 * k + 1] = (0.5 - (Math.floor(k / FIELD) + 0.5) / FIELD) * 2 * EXTENT;
    }
    const fieldCanvas = Object.assign(document.createElement("canvas"), { width: FIELD, height: FIELD });
    const fieldPixels = new ImageData(FIELD, FIELD);

    // Between 0, generated, and 1, real: the probability, the target of least squares, or, where only differences count, the rank
    // between the lowest and the highest output.
    function shares(outputs) {
      const loss = training.settings.loss;
      if (loss === "least_squares") return outputs.map(value => Math.min(Math.max(value, 0), 1));
      if (loss === "non_saturating" || loss === "minimax") return outputs.map(sigmoid);
      let low = Infinity, high = -Infinity;
      for (const value of outputs) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      return outputs.map(value => (value - low) / (high - low + 1e-9));
    }

    function drawField(colours) {
      const outputs = shares(training.discriminator.forward(grid));
      outputs.forEach((share, k) => {
        const [from, to, part] = share < 0.5 ? [colours.low, colours.middle, 2 * share] : [colours.middle, colours.high, 2 * share - 1];
        for (let c = 0; c < 3; c++) fieldPixels.data[4 * k + c] = from[c] + part * (to[c] - from[c]);
        fieldPixels.data[4 * k + 3] = 255;
      });
      fieldCanvas.getContext("2d").putImageData(fieldPixels, 0, 0);
      plane.context.drawImage(fieldCanvas, 0, 0, 640, 640);
    }

    function dots(points, colour, size) {
      plane.context.fillStyle = colour;
      for (let k = 0; k < points.length; k += 2) {
        const [x, y] = place(points[k], points[k + 1]);
        plane.context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }

    function draw() {
      const { context } = plane;
      const colours = theme();
      context.fillStyle = `rgb(${colours.middle})`;
      context.fillRect(0, 0, 640, 640);
      if (training) {
        if (showField.value) drawField(colours);
        dots(measured.real, colours.real, 5);
        drawGenerated(colours);
        plane.title(`Round ${training.steps}, precision ${percent(measured.precision)}, recall ${percent(measured.recall)}`);
        cells.steps.textContent = training.leading ? "0, discriminator alone" : training.steps;
        cells.precision.textContent = percent(measured.precision);
        cells.recall.textContent = percent(measured.recall);
        for (const name of ["discriminator", "generator"]) cells[name].textContent = training[`${name}Loss`]?.toFixed(3).replace("-", "−") ?? "";
      } else {
        dots(drawn.flat(), colours.real, 5);
      }
      drawChart();
      if (cursor) {
        const [x, y] = place(...cursor);
        context.strokeStyle = colours.arrow;
        context.lineWidth = 1;
        context.strokeRect(x - 8, y, 16, 0);
        context.strokeRect(x, y - 8, 0, 16);
      }
    }

    function drawGenerated(colours) {
      const { context } = plane;
      const { points } = generatorGradient(training.generator, training.discriminator, { real: measured.real, latent }, training.settings);
      const fake = training.generator.values.at(-1);
      let total = 0;
      context.strokeStyle = colours.arrow;
      context.lineWidth = 1;
      context.beginPath();
      for (let k = 0; k < fake.length; k += 2) {
        // The loss is a mean over the points; the arrow is the gradient of one point's own term.
        const gradient = [-SHOWN * points[k], -SHOWN * points[k + 1]];
        const length = Math.hypot(...gradient);
        total += length / SHOWN;
        if (!showArrows.value || k % 4) continue;
        const factor = Math.min(0.3, 0.5 / (length + 1e-9));
        context.moveTo(...place(fake[k], fake[k + 1]));
        context.lineTo(...place(fake[k] + factor * gradient[0], fake[k + 1] + factor * gradient[1]));
      }
      context.stroke();
      dots(fake, colours.fake, 6);
      cells.gradient.textContent = total < 0.01 ? total.toExponential(1).replace("-", "−") : total.toFixed(2);
    }

    function drawChart() {
      const { context, element: { width, height } } = chart, colours = tools.colours();
      context.fillStyle = colours.panel;
      context.fillRect(0, 0, width, height);
      const last = Math.max(training?.steps ?? 0, 20);
      context.lineWidth = 2;
      context.strokeStyle = colours.ink;
      for (const [index, dash] of [[1, []], [2, [6, 5]]]) {
        context.setLineDash(dash);
        context.beginPath();
        for (const entry of history) context.lineTo((entry[0] / last) * (width - 4) + 2, height - 3 - entry[index] * (height - 6));
        context.stroke();
      }
      context.setLineDash([]);
    }

    // --- Drawing the data ---

    function addPoint(point) {
      if (drawn.length >= 2000) return;
      drawn.push(point.map(part => Math.min(Math.max(part, -EXTENT), EXTENT)));
      if (training) training.source = drawn;
    }
    const toPlane = event => {
      const { x, y } = plane.position(event);
      return [(x / 640 - 0.5) * 2 * EXTENT, (0.5 - y / 640) * 2 * EXTENT];
    };
    tools.listen(plane.element, "pointerdown", event => {
      if (!drawing()) return;
      plane.element.setPointerCapture(event.pointerId);
      addPoint(toPlane(event));
      draw();
    });
    tools.listen(plane.element, "pointermove", event => {
      if (!drawing() || !event.buttons) return;
      addPoint(toPlane(event));
      draw();
    });
    // The training begins when the first stroke ends, and continues with the points of later ones.
    const finish = () => {
      if (drawing() && !training && drawn.length >= 2) restart();
    };
    tools.listen(plane.element, "pointerup", finish);
    tools.listen(plane.element, "keydown", event => {
      if (!drawing()) return;
      const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (moves[event.key]) cursor = cursor.map((part, k) => Math.min(Math.max(part + moves[event.key][k], -EXTENT), EXTENT));
      else if (event.key === " ") addPoint(cursor);
      else if (event.key === "Backspace") drawn.pop();
      else return;
      event.preventDefault();
      finish();
      draw();
    });

    // --- The first look ---

    const describe = () => {
      const { real, fake, high, low } = theme();
      const next = tools.legend([
        ["data", real], ["generated points", fake], ["the discriminator rates these places as real", `rgb(${high})`], ["as generated", `rgb(${low})`],
      ]);
      legend.replaceWith(next);
      legend = next;
    };
    describe();
    tools.onColours(describe);
    tools.onColours(draw);
    restart();
    tools.frames(() => {
      if (!running || !training) return;
      advance(speed.value, 25);
      draw();
    });
  }

  imggenLive.register("gan_plane", { start });
})();
