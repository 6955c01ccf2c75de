// Samplers, one step at a time. The formulas are those of imggen_lib/models, which explains them: diffusion/schedule.py and
// diffusion/sampler.py, diffusion/rectified_flow.py, vq/prior.py and vq/token_transformer.py.
//
// imggenLive.sampler(options), for a diffusion model with v-prediction, returns {k, steps, angles, state, done, advance()}. advance() takes one step and returns
// {angle, next, noisy, clean, state}: the two angles, the noisy image at the first, the estimate of the clean image, and the
// noisy image at the second angle. Options:
//   velocity(noisy, angle)   the predicted velocity, a Float32Array
//   noise                    the state at the angle of 90 degrees, a Float32Array
//   steps, order, eta        as in Diffusion.sample; random() returns a standard normal number, for a positive eta
//
// imggenLive.flow(options), for a rectified flow, returns {k, steps, state, done, advance()}. advance() takes one step and returns
// a Promise of {time, next, clean, state}: the two times, the estimate of the clean data at the first, and the state at the second.
// Options:
//   velocity(noisy, time)    the predicted velocity, a Float32Array or a Promise of one
//   noise                    the state at the time 1, a Float32Array
//   steps, method            "euler" or "heun", as in RectifiedFlow.sample
//
// imggenLive.guided(network) returns velocity(noisy, angle, condition, scale) with classifier-free guidance; the condition is an
// array, or null for an unconditional prediction.
//
// imggenLive.tokens(options), for a transformer over tokens, returns {k, tokens, done, advance()}. advance() samples one token
// and returns {position, token, probability}. Options:
//   networks                 two networks with the inputs tokens and condition and the node "predictor", because each keeps the
//                            keys and values of its own condition: one for the condition, and one for none
//   condition, scale, temperature   as in TokenTransformer.sample; the condition is an array
//   given, open              all tokens, and the positions to sample in increasing order: the other tokens are kept
//   uniform()                a uniform random number, called once for each sampled token
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

  imggenLive.flow = ({velocity, noise, steps, method = "heun"}) => {
    const sampler = {
      k: 0, steps, state: noise,
      get done() { return sampler.k === steps; },
      async advance() {
        const [time, next] = [1 - sampler.k / steps, 1 - (sampler.k + 1) / steps], noisy = sampler.state, slope = await velocity(noisy, time);
        const moved = slopes => noisy.map((value, i) => value + (next - time) * slopes[i]);
        if (method === "euler" || next === 0) sampler.state = moved(slope);
        else {
          const end = await velocity(moved(slope), next);
          sampler.state = moved(slope.map((value, i) => (value + end[i]) / 2));
        }
        sampler.k += 1;
        return {time, next, clean: noisy.map((value, i) => value - time * slope[i]), state: sampler.state};
      },
    };
    return sampler;
  };

  const extrapolated = (conditional, unconditional, scale) => conditional.map((value, i) => unconditional[i] + scale * (value - unconditional[i]));

  imggenLive.guided = network => (noisy, angle, condition, scale) => {
    const none = new Float32Array(network.inputs.condition.data.length);
    const predict = row => network.run({image: noisy, angle: [angle], condition: row}).slice();
    if (!condition || scale === 0) return predict(none);
    const conditional = predict(condition);
    return scale === 1 ? conditional : extrapolated(conditional, predict(none), scale);
  };

  // The probabilities of tokens, and the first of them whose cumulative probability exceeds a uniform number.
  function choose(logits, uniform, temperature) {
    const best = logits.indexOf(Math.max(...logits));
    if (temperature === 0) return {token: best, probability: 1};
    const weights = Float64Array.from(logits, value => Math.exp((value - logits[best]) / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let token = 0;
    for (let below = weights[0]; token < weights.length - 1 && below <= uniform * total; below += weights[token]) token++;
    return {token, probability: weights[token] / total};
  }

  imggenLive.tokens = ({networks, condition, scale, temperature, given, open, uniform}) => {
    const conditions = scale === 1 ? [condition] : [condition, new Float32Array(condition.length)];
    const predictors = conditions.map((_, index) => networks[index].node("predictor")), codes = predictors[0].output.shape[1];
    conditions.forEach((row, index) => networks[index].run({tokens: given, condition: row}, "predictor"));
    let known = 0;
    const sampler = {
      k: 0, tokens: Int32Array.from(given),
      get done() { return sampler.k === open.length; },
      advance() {
        const position = open[sampler.k], all = predictors.map((predictor, index) => {
          networks[index].inputs.tokens.data.set(sampler.tokens);
          // The tokens that are kept, up to this position, are computed together.
          predictor.run(known, position + 1);
          return predictor.output.data.subarray(position * codes, (position + 1) * codes);
        });
        known = position + 1;
        const logits = scale === 1 ? all[0] : extrapolated(...all, scale), {token, probability} = choose(logits, uniform(), temperature);
        sampler.tokens[position] = token;
        sampler.k += 1;
        return {position, token, probability};
      },
    };
    return sampler;
  };
})();
