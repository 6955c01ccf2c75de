// The figure "noise": five kinds of noise, three denoisers, PSNR and SSIM. The noises are those of imggen_lib.noise; the filters and
// the metrics are those of SciPy and scikit-image, and the tests compare them.
"use strict";

(() => {
  // An image is {width, height, channels, data}: numbers from 0 to 1, row by row, the channels of a pixel side by side.

  // --- Poisson numbers ------------------------------------------------------------------------------------------------------------

  // An image has at most 256 different values, so the cumulative distribution of each is stored.
  function poissonNumbers({ uniform }) {
    const tables = new Map();
    return mean => {
      if (!tables.has(mean)) tables.set(mean, poissonTable(mean));
      const { first, cumulative } = tables.get(mean);
      const u = uniform();
      let low = 0, high = cumulative.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cumulative[middle] > u) high = middle;
        else low = middle + 1;
      }
      return first + low;
    };
  }

  // The probabilities of the counts within nine standard deviations of the mean, from their ratios: P(k) / P(k - 1) = mean / k.
  function poissonTable(mean) {
    const mode = Math.floor(mean), reach = Math.ceil(9 * Math.sqrt(mean)) + 20;
    const first = Math.max(mode - reach, 0), weights = new Float64Array(mode + reach - first + 1);
    weights[mode - first] = 1;
    for (let k = mode; k > first; k--) weights[k - 1 - first] = (weights[k - first] * k) / mean;
    for (let k = mode + 1; k <= mode + reach; k++) weights[k - first] = (weights[k - 1 - first] * mean) / k;
    const total = weights.reduce((sum, weight) => sum + weight);
    let sum = 0;
    return { first, cumulative: weights.map(weight => (sum += weight / total)) };
  }

  // --- Noise ----------------------------------------------------------------------------------------------------------------------

  function mean(values, of = value => value) {
    let sum = 0;
    for (const value of values) sum += of(value);
    return sum / values.length;
  }

  // For each kind: the parameter for which the expected squared error, before clipping, is std ** 2, and the noisy value.
  const kinds = {
    gaussian: { parameter: (image, std) => std, add: (x, std, random) => x + std * random.normal() },
    uniform: { parameter: (image, std) => Math.sqrt(3) * std, add: (x, half, random) => x + half * (2 * random.uniform() - 1) },
    salt_and_pepper: {
      parameter: (image, std) => Math.min(std ** 2 / mean(image.data, x => (x ** 2 + (1 - x) ** 2) / 2), 1),
      add: (x, amount, random) => {
        const u = random.uniform();
        return u < amount / 2 ? 1 : u < amount ? 0 : x;
      },
    },
    poisson: { parameter: (image, std) => mean(image.data) / std ** 2, add: (x, photons, random) => random.poisson(x * photons) / photons },
    speckle: {
      parameter: (image, std) => std / Math.sqrt(mean(image.data, x => x ** 2)),
      add: (x, relative, random) => x * (1 + relative * random.normal()),
    },
  };

  // The noisy image is not clipped: to calculate, unclipped values are right. Display clips.
  function addNoise(image, kind, parameter, seed) {
    const random = imggenLive.random(seed);
    random.poisson = poissonNumbers(random);
    return { ...image, data: Float32Array.from(image.data, x => kinds[kind].add(x, parameter, random)) };
  }

  // --- Filters. Beyond the border, an image continues with its nearest pixel. -----------------------------------------------------

  const within = (index, size) => Math.min(Math.max(index, 0), size - 1);

  function gaussianFilter(image, std) {
    const radius = Math.floor(4 * std + 0.5);
    const weights = Array.from({ length: 2 * radius + 1 }, (_, k) => Math.exp(-((k - radius) ** 2) / (2 * std ** 2)));
    const total = weights.reduce((sum, weight) => sum + weight);
    const { width, height, channels } = image;
    // A Gaussian of two variables is a product, so rows and columns can be filtered one after the other.
    const along = (data, size, step, start) => {
      const result = new Float32Array(data.length);
      for (let index = 0; index < data.length; index++) {
        const place = start(index);
        let sum = 0;
        for (let k = -radius; k <= radius; k++) sum += weights[k + radius] * data[index + (within(place + k, size) - place) * step];
        result[index] = sum / total;
      }
      return result;
    };
    const rows = along(image.data, width, channels, index => Math.floor(index / channels) % width);
    return { ...image, data: along(rows, height, width * channels, index => Math.floor(index / (width * channels))) };
  }

  function medianFilter(image, side) {
    const { width, height, channels, data } = image;
    const radius = (side - 1) / 2, middle = (side * side - 1) / 2;
    const window = new Float32Array(side * side);
    const result = new Float32Array(data.length);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        for (let c = 0; c < channels; c++) {
          let count = 0;
          for (let p = -radius; p <= radius; p++) {
            for (let q = -radius; q <= radius; q++) {
              window[count++] = data[(within(i + p, height) * width + within(j + q, width)) * channels + c];
            }
          }
          result[(i * width + j) * channels + c] = window.sort()[middle];
        }
      }
    }
    return { ...image, data: result };
  }

  // The weight of a neighbour decreases with its distance in the plane and with its difference in colour.
  function bilateralFilter(image, stdColour, side) {
    const { width, height, channels, data } = image;
    const radius = (side - 1) / 2, stdPlace = side / 2;
    const result = new Float32Array(data.length), sums = new Float64Array(channels);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const here = (i * width + j) * channels;
        let total = 0;
        sums.fill(0);
        for (let p = -radius; p <= radius; p++) {
          for (let q = -radius; q <= radius; q++) {
            const there = (within(i + p, height) * width + within(j + q, width)) * channels;
            let difference = 0;
            for (let c = 0; c < channels; c++) difference += (data[there + c] - data[here + c]) ** 2;
            const weight = Math.exp(-(p * p + q * q) / (2 * stdPlace ** 2) - difference / (2 * stdColour ** 2));
            total += weight;
            for (let c = 0; c < channels; c++) sums[c] += weight * data[there + c];
          }
        }
        for (let c = 0; c < channels; c++) result[here + c] = sums[c] / total;
      }
    }
    return { ...image, data: result };
  }

  function clip(image) {
    return { ...image, data: image.data.map(value => Math.min(Math.max(value, 0), 1)) };
  }

  // --- Metrics --------------------------------------------------------------------------------------------------------------------

  function psnr(reference, image) {
    let sum = 0;
    for (let k = 0; k < reference.data.length; k++) sum += (image.data[k] - reference.data[k]) ** 2;
    return -10 * Math.log10(sum / reference.data.length);
  }

  // Structural similarity as in scikit-image: windows of 7 by 7 pixels inside the image, unbiased variances, mean over the channels.
  function ssim(reference, image) {
    const size = 7, count = size * size, C1 = 0.01 ** 2, C2 = 0.03 ** 2, unbiased = count / (count - 1);
    const { width, height, channels } = reference;
    const sums = [0, 1, 2, 3, 4].map(() => new Float64Array((width + 1) * (height + 1)));
    let total = 0;
    for (let c = 0; c < channels; c++) {
      // sums[k][i, j] is the sum over all pixels above row i and left of column j, so each window needs four values of it.
      for (let i = 0; i < height; i++) {
        const row = [0, 0, 0, 0, 0];
        for (let j = 0; j < width; j++) {
          const x = reference.data[(i * width + j) * channels + c], y = image.data[(i * width + j) * channels + c];
          [x, y, x * x, y * y, x * y].forEach((value, k) => {
            row[k] += value;
            sums[k][(i + 1) * (width + 1) + j + 1] = sums[k][i * (width + 1) + j + 1] + row[k];
          });
        }
      }
      for (let i = 0; i + size <= height; i++) {
        for (let j = 0; j + size <= width; j++) {
          const corner = i * (width + 1) + j, below = corner + size * (width + 1);
          const [x, y, xx, yy, xy] = sums.map(sum => (sum[below + size] - sum[below] - sum[corner + size] + sum[corner]) / count);
          const variances = unbiased * (xx - x * x + yy - y * y), joint = unbiased * (xy - x * y);
          total += ((2 * x * y + C1) * (2 * joint + C2)) / ((x * x + y * y + C1) * (variances + C2));
        }
      }
    }
    return total / (channels * (height - size + 1) * (width - size + 1));
  }

  (imggenLive.core ??= {}).noise = {
    kinds, addNoise, gaussianFilter, medianFilter, bilateralFilter, clip, psnr, ssim,
  };
})();
