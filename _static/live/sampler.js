// The sampler of a diffusion model with v-prediction, one step at a time. The formulas are those of
// imggen_lib/models/diffusion/schedule.py and sampler.py, which explain them.
//
// imggenLive.sampler(options) returns {k, steps, angles, state, done, advance()}. advance() takes one step and returns
// {angle, next, noisy, clean, state}: the two angles, the noisy image at the first, the estimate of the clean image, and the
// noisy image at the second angle. Options:
//   velocity(noisy, angle)   the predicted velocity, a Float32Array
//   noise                    the state at the angle of 90 degrees, a Float32Array
//   steps, order, eta        as in Diffusion.sample; random() returns a standard normal number, for a positive eta
//
// imggenLive.guided(network, classes) returns velocity(noisy, angle, label, scale) with classifier-free guidance; without a
// label (null) the prediction is unconditional.
(() => {
  const logSnr = angle => -2 * Math.log(Math.tan(angle));

  // Linear extrapolation of the last two estimates, in the logarithm of the signal-to-noise ratio, to the middle of the step.
  function extrapolate(clean, previous, before, angle, next) {
    const factor = (logSnr(next) - logSnr(angle)) / (2 * (logSnr(angle) - logSnr(before)));
    return clean.map((value, i) => value + factor * (value - previous[i]));
  }

  // The noise of which a part is replaced by new noise; its variance stays 1.
  function renew(noise, angle, next, eta, random) {
    const forward = Math.sqrt(Math.sin(angle - next) * Math.sin(angle + next)) / Math.cos(next);
    const replaced = eta * Math.min(forward / Math.sin(angle), 1), kept = Math.sqrt(1 - replaced * replaced);
    return noise.map(value => kept * value + replaced * random());
  }

  imggenLive.sampler = ({velocity, noise, steps, order = 1, eta = 0, random}) => {
    const angles = Array.from({length: steps + 1}, (_, k) => Math.PI / 2 * (1 - k / steps));
    let previous = null;
    const sampler = {
      k: 0, steps, angles, state: noise,
      get done() { return sampler.k === steps; },
      advance() {
        const k = sampler.k, [angle, next] = [angles[k], angles[k + 1]], [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        const noisy = sampler.state, v = velocity(noisy, angle);
        const predicted = noisy.map((value, i) => Math.min(1, Math.max(-1, cos * value - sin * v[i])));
        // As in the library: extrapolation is for the deterministic equation, and not for the first and last angles.
        const second = order === 2 && eta === 0 && k >= 2 && k < steps - 1;
        const clean = second ? extrapolate(predicted, previous, angles[k - 1], angle, next) : predicted;
        previous = predicted;
        const remaining = noisy.map((value, i) => (value - cos * clean[i]) / sin);
        const mixed = eta ? renew(remaining, angle, next, eta, random) : remaining;
        sampler.state = clean.map((value, i) => Math.cos(next) * value + Math.sin(next) * mixed[i]);
        sampler.k += 1;
        return {angle, next, noisy, clean, state: sampler.state};
      },
    };
    return sampler;
  };

  imggenLive.guided = (network, classes) => (noisy, angle, label, scale) => {
    const condition = new Float32Array(classes), predict = () => network.run({image: noisy, angle: [angle], condition}).slice();
    if (label === null || scale === 0) return predict();
    condition[label] = 1;
    const conditional = predict();
    if (scale === 1) return conditional;
    condition.fill(0);
    const unconditional = predict();
    return conditional.map((value, i) => unconditional[i] + scale * (value - unconditional[i]));
  };
})();
