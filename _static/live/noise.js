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

  // For each kind: the parameter for which the expected squared error, before clipping, is std ** 2, and the noisy value. A black image
  // has neither photon noise nor speckle.
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
    poisson: { parameter: (image, std) => Math.max(mean(image.data), 1e-6) / std ** 2, add: (x, photons, random) => random.poisson(x * photons) / photons },
    speckle: {
      parameter: (image, std) => std / Math.sqrt(Math.max(mean(image.data, x => x ** 2), 1e-6)),
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
    if (Math.min(width, height) < size) return NaN;
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

  // --- The figure ---------------------------------------------------------------------------------------------------------------

  const percent = share => `${(100 * share).toFixed(1)} %`;

  // The name of each kind, and its parameter in words.
  const NAMES = {
    gaussian: ["Gaussian", std => `standard deviation ${std.toFixed(3)}`],
    uniform: ["Uniform", half => `half-width ${half.toFixed(3)}`],
    salt_and_pepper: ["Salt and pepper", amount => `${percent(amount)} of the values are replaced`],
    poisson: ["Poisson (photon)", photons => `${photons.toFixed(photons < 10 ? 1 : 0)} photons at full brightness`],
    speckle: ["Speckle", relative => `relative standard deviation ${relative.toFixed(3)}`],
  };

  const FILTERS = {
    gaussian: ["Gaussian", (image, sliders) => gaussianFilter(image, sliders.gaussian.value)],
    median: ["Median", (image, sliders) => medianFilter(image, sliders.median.value)],
    bilateral: ["Bilateral, 5 × 5", (image, sliders) => bilateralFilter(clip(image), sliders.bilateral.value, 5)],
    nothing: ["No filter", image => image],
  };

  // Draw the shares of values in 40 bins: the first list filled, the second as a line.
  function drawHistogram({ element, context }, lists, [low, high], colours) {
    const bins = 40, { width, height } = element, bottom = height - 1;
    const counts = lists.map(values => {
      const count = new Float64Array(bins);
      for (const value of values) count[Math.min(Math.max(Math.floor(((value - low) / (high - low)) * bins), 0), bins - 1)]++;
      return count;
    });
    // A bin with more than a sixth of all values, as at the zero of salt and pepper, would hide the others, so it is cut.
    const largest = Math.min(Math.max(...counts.flatMap(count => [...count])), lists[0].length / 6);
    const y = count => bottom - Math.round(Math.min(count / largest, 1) * (height - 4));
    context.fillStyle = colours.panel;
    context.fillRect(0, 0, width, height);
    context.fillStyle = colours.first;
    counts[0].forEach((count, k) => context.fillRect((k * width) / bins, y(count), width / bins, bottom - y(count)));
    context.strokeStyle = colours.second;
    context.lineWidth = 1;
    context.beginPath();
    counts[1].forEach((count, k) => {
      // The middles of pixels make a sharp line.
      context.lineTo((k * width) / bins + 0.5, y(count) - 0.5);
      context.lineTo(((k + 1) * width) / bins + 0.5, y(count) - 0.5);
    });
    context.stroke();
    context.fillStyle = colours.ink;
    context.fillRect(0, bottom, width, 1);
    // The value 0 of the noise.
    if (low < 0) context.fillRect(Math.round((-low / (high - low)) * width), bottom - 4, 1, 4);
  }

  async function start(root, tools) {
    const photograph = await imggenLive.photograph(tools);
    let image = photograph, seed = 1, noisy, planned = false;

    const stage = tools.stage();
    stage.classList.add("live-grid");
    const cell = (title, label) => tools.canvas(stage.appendChild(document.createElement("div")), {
      title, label, width: image.width, height: image.height, scale: 2,
    });
    const [clean, before, after] = [cell("Image", "Image without noise"), cell("With noise", "Image with noise"), cell("Filtered", "Filtered image")];
    const plot = cell("Histogram", "Histogram before and after the filter, as the text below it states");
    const legend = Object.assign(document.createElement("p"), { className: "live-note" });
    root.append(legend);

    const table = document.createElement("table");
    table.className = "live-table";
    table.innerHTML = `<thead><tr><td></td><th scope="col">PSNR in dB</th><th scope="col">SSIM</th></tr></thead>
      <tbody><tr><th scope="row">with noise</th><td></td><td></td></tr><tr><th scope="row">filtered</th><td></td><td></td></tr></tbody>`;
    root.append(table);

    const first = tools.row("Noise");
    const kind = tools.select(first, {
      name: "kind", label: "Kind", value: "gaussian", options: Object.entries(NAMES).map(([key, [name]]) => [key, name]), onChange: addAndShow,
    });
    const strength = tools.slider(first, {
      name: "strength", label: "Root mean squared error σ", min: 0.02, max: 0.4, step: 0.01, value: 0.1,
      format: value => value.toFixed(2), onChange: addAndShow,
    });
    tools.button(first, "New random numbers", () => {
      seed++;
      addAndShow();
    });

    const second = tools.row("Filter");
    const filter = tools.select(second, {
      name: "filter", label: "Kind", value: "gaussian", options: Object.entries(FILTERS).map(([key, [name]]) => [key, name]), onChange: filterAndShow,
    });
    const sliders = {
      gaussian: tools.slider(second, {
        name: "width", label: "Standard deviation in pixels", min: 0.3, max: 3, step: 0.1, value: 0.8, format: value => value.toFixed(1), onChange: filterAndShow,
      }),
      median: tools.slider(second, {
        name: "side", label: "Side of the window in pixels", min: 3, max: 7, step: 2, value: 3, onChange: filterAndShow,
      }),
      bilateral: tools.slider(second, {
        name: "colours", label: "Tolerated difference of colours", min: 0.05, max: 1, step: 0.05, value: 0.4,
        format: value => value.toFixed(2), onChange: filterAndShow,
      }),
    };
    const histogram = tools.select(second, {
      name: "histogram", label: "Histogram of", value: "noise", options: [["noise", "the error"], ["values", "the brightness"]], onChange: filterAndShow,
    });

    const source = tools.row("Your own image (it stays in this page)");
    tools.file(source, { label: "Image file", side: photograph.width, onImage: use });
    tools.button(source, "Built-in photograph", () => use(photograph));

    function use(chosen) {
      image = chosen;
      for (const view of [clean, before, after]) view.size(image.width, image.height);
      addAndShow();
    }

    // However fast a slider moves, each repaint computes once.
    function plan(withNoise) {
      planned ||= { withNoise: false };
      planned.withNoise ||= withNoise;
    }
    function addAndShow() { plan(true); }
    function filterAndShow() { plan(false); }
    tools.frames(() => {
      if (!planned) return;
      const { withNoise } = planned;
      planned = false;
      compute(withNoise);
    });
    tools.onColours(filterAndShow);

    function compute(withNoise) {
      const parameter = kinds[kind.value].parameter(image, strength.value);
      if (withNoise) noisy = addNoise(image, kind.value, parameter, seed);
      for (const [key, { element }] of Object.entries(sliders)) element.parentElement.hidden = key !== filter.value;
      const filtered = FILTERS[filter.value][1](noisy, sliders);
      clean.draw(image.data);
      before.draw(noisy.data);
      after.draw(filtered.data);

      const scores = [noisy, filtered].map(result => [psnr(image, result), ssim(image, result)]);
      // Images of fewer than 7 by 7 pixels have no structural similarity.
      const written = scores.map(pair => pair.map((score, k) => (score === Infinity ? "∞" : Number.isFinite(score) ? score.toFixed(k + 1) : "–")));
      [...table.tBodies[0].rows].forEach((line, k) => written[k].forEach((score, column) => { line.cells[column + 1].textContent = score; }));
      showHistogram(filtered);
      const [name, words] = NAMES[kind.value];
      const change = scores[1][0] - scores[0][0];
      const verb = !(Math.abs(change) >= 0.05) ? "does not change the PSNR" : `${change > 0 ? "raises" : "lowers"} the PSNR by ${change === -Infinity ? "∞" : Math.abs(change).toFixed(1)} dB`;
      const effect = filter.value === "nothing" ? "The image is not filtered" : `The filter ${verb}`;
      tools.say(`${name}: ${words(parameter)}. ${effect}. Result: PSNR ${written[1][0]} dB, SSIM ${written[1][1]}.`);
    }

    function showHistogram(filtered) {
      const colours = { ...tools.colours(), first: "#56b4e9", second: "#d55e00" };
      const error = result => result.data.map((value, k) => value - image.data[k]);
      if (histogram.value === "noise") {
        const reach = Math.min(4 * strength.value, 1);
        drawHistogram(plot, [error(noisy), error(filtered)], [-reach, reach], colours);
        legend.textContent = `Histogram, blue: noisy minus clean image; orange line: filtered minus clean image. From ${(-reach).toFixed(1).replace("-", "−")} to ${reach.toFixed(1)}; the mark is 0.`;
      } else {
        drawHistogram(plot, [noisy.data, filtered.data], [-0.25, 1.25], colours);
        legend.textContent = "Histogram, blue: values of the noisy image; orange line: values of the filtered image. From −0.25 to 1.25; the mark is 0.";
      }
    }

    compute(true);
  }

  imggenLive.register("noise", { needs: ["photograph"], start });
})();
