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
      this.batch = 64;
    }

    latent(n) {
      return this.random.normals(2 * n);
    }

    // Train only the discriminator, so that it is ahead of the generator.
    lead(steps) {
      for (let k = 0; k < steps; k++) this.discriminatorStep();
    }

    discriminatorStep() {
      const real = samplePoints(this.batch, this.source, this.random);
      const fake = this.generator.forward(this.latent(this.batch));
      const fraction = Float32Array.from({ length: this.batch }, this.random.uniform);
      this.discriminatorLoss = discriminatorGradient(this.discriminator, { real, fake, fraction }, this.settings);
      this.optimizers.discriminator.rate = this.settings.discriminatorRate;
      this.optimizers.discriminator.step(this.discriminator.weights, this.discriminator.gradient);
    }

    // Some steps of the discriminator, then one of the generator.
    step() {
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
})();
