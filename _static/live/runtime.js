// Evaluates a Keras network in the reader's browser, one input at a time, with plain JavaScript.
//
// tools/export_live.py writes a network as a list of nodes in an order in which each follows its inputs:
//   {name, op, inputs, options, weights}
// `op` is the class of the Keras layer or operation, `inputs` are names of nodes or numbers or arrays of numbers, and `weights`
// are names of arrays. imggenLive.network(arrays, description) allocates all arrays once and returns
//   {run(inputs), inputs, output, value(name)}
// run() takes {name of an input: array} and returns the output, a Float32Array that the next run overwrites. value(name) is
// the output of any node, as {shape, data}; tests compare it with Keras. Shapes have no batch axis: (height, width, channels),
// (rows, channels) or (n). Arrays are in C order, channels last.
(() => {
  const size = shape => shape.reduce((a, b) => a * b, 1);
  const tensor = shape => ({shape, data: new Float32Array(size(shape))});

  // c = a b + bias for a (m × k), b (k × n) and c (m × n). Blocks of 2 × 4 sums stay in registers.
  function multiply(a, b, c, m, k, n, bias) {
    let i = 0;
    for (; i + 1 < m; i += 2) {
      const row0 = i * k, row1 = row0 + k, out0 = i * n, out1 = out0 + n;
      let j = 0;
      for (; j + 3 < n; j += 4) {
        let s0 = bias ? bias[j] : 0, s1 = bias ? bias[j + 1] : 0, s2 = bias ? bias[j + 2] : 0, s3 = bias ? bias[j + 3] : 0;
        let t0 = s0, t1 = s1, t2 = s2, t3 = s3;
        for (let l = 0, q = j; l < k; l++, q += n) {
          const x = a[row0 + l], y = a[row1 + l], b0 = b[q], b1 = b[q + 1], b2 = b[q + 2], b3 = b[q + 3];
          s0 += x * b0; s1 += x * b1; s2 += x * b2; s3 += x * b3;
          t0 += y * b0; t1 += y * b1; t2 += y * b2; t3 += y * b3;
        }
        c[out0 + j] = s0; c[out0 + j + 1] = s1; c[out0 + j + 2] = s2; c[out0 + j + 3] = s3;
        c[out1 + j] = t0; c[out1 + j + 1] = t1; c[out1 + j + 2] = t2; c[out1 + j + 3] = t3;
      }
      for (; j < n; j++) {
        let s = bias ? bias[j] : 0, t = s;
        for (let l = 0, q = j; l < k; l++, q += n) {
          s += a[row0 + l] * b[q];
          t += a[row1 + l] * b[q];
        }
        c[out0 + j] = s;
        c[out1 + j] = t;
      }
    }
    if (i < m) multiplyRow(a.subarray(i * k, (i + 1) * k), b, c.subarray(i * n, (i + 1) * n), k, n, bias);
  }

  // One row: whole rows of b are read in the order of the memory.
  function multiplyRow(a, b, c, k, n, bias) {
    if (bias) c.set(bias); else c.fill(0);
    for (let l = 0, q = 0; l < k; l++, q += n) {
      const x = a[l];
      if (x !== 0) for (let j = 0; j < n; j++) c[j] += x * b[q + j];
    }
  }

  const sigmoid = x => 1 / (1 + Math.exp(-x));
  const activations = {
    linear: null,
    relu: x => (x > 0 ? x : 0),
    sigmoid,
    silu: x => x * sigmoid(x),
    tanh: Math.tanh,
    gelu: x => 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))),
  };

  function activation(name) {
    if (!(name in activations)) throw new Error(`the activation ${name} is not known to the runtime`);
    return activations[name];
  }

  function apply(f, data) {
    if (f) for (let i = 0; i < data.length; i++) data[i] = f(data[i]);
  }

  // Zeros before the first row and column for padding "same": with an odd number of them the larger half is at the end.
  const before = (length, kernel, stride) => Math.max((Math.ceil(length / stride) - 1) * stride + kernel - length, 0) >> 1;

  // Each operation: (inputs, options, weights) → {output, run}. Inputs and weights are tensors; run() fills the output.
  const operations = {
    Dense([input], {activation: name = "linear"}, [kernel, bias]) {
      const [k, n] = kernel.shape, output = tensor([...input.shape.slice(0, -1), n]), f = activation(name);
      const m = output.data.length / n;
      return {output, run() {
        multiply(input.data, kernel.data, output.data, m, k, n, bias?.data);
        apply(f, output.data);
      }};
    },

    // Each output pixel is a product of the kernel with the patch of the input, which is copied into a row.
    Conv2D([input], {strides, padding, activation: name = "linear"}, [kernel, bias]) {
      const [height, width, channels] = input.shape, [tall, wide, , n] = kernel.shape, [down, right] = strides;
      const same = padding === "same", f = activation(name);
      const rows = same ? Math.ceil(height / down) : Math.floor((height - tall) / down) + 1;
      const columns = same ? Math.ceil(width / right) : Math.floor((width - wide) / right) + 1;
      const [top, left] = same ? [before(height, tall, down), before(width, wide, right)] : [0, 0];
      const output = tensor([rows, columns, n]), k = tall * wide * channels;
      const direct = tall === 1 && wide === 1 && down === 1 && right === 1;
      const patches = direct ? input.data : new Float32Array(rows * columns * k);
      // Zeros outside of the image are never overwritten.
      const copy = () => {
        for (let y = 0, at = 0; y < rows; y++) for (let x = 0; x < columns; x++) for (let v = 0; v < tall; v++) {
          const row = y * down + v - top;
          for (let u = 0; u < wide; u++, at += channels) {
            const column = x * right + u - left;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            for (let c = 0, from = (row * width + column) * channels; c < channels; c++) patches[at + c] = input.data[from + c];
          }
        }
      };
      return {output, run() {
        if (!direct) copy();
        multiply(patches, kernel.data, output.data, rows * columns, k, n, bias?.data);
        apply(f, output.data);
      }};
    },

    // Each input pixel times the kernel is a patch that is added to the output.
    Conv2DTranspose([input], {strides, padding, activation: name = "linear"}, [kernel, bias]) {
      const [height, width, channels] = input.shape, [tall, wide, n] = kernel.shape, [down, right] = strides;
      if (padding !== "same") throw new Error(`Conv2DTranspose with padding ${padding} is not known to the runtime`);
      const [rows, columns, f] = [height * down, width * right, activation(name)];
      const top = Math.max(tall - down, 0) >> 1, left = Math.max(wide - right, 0) >> 1;
      const output = tensor([rows, columns, n]), patch = tall * wide * n;
      // From (tall, wide, n, channels) to (channels, tall × wide × n).
      const turned = new Float32Array(kernel.data.length);
      for (let i = 0; i < patch; i++) for (let c = 0; c < channels; c++) turned[c * patch + i] = kernel.data[i * channels + c];
      const patches = new Float32Array(height * width * patch);
      return {output, run() {
        multiply(input.data, turned, patches, height * width, channels, patch, null);
        const out = output.data;
        if (bias) for (let i = 0; i < out.length; i++) out[i] = bias.data[i % n]; else out.fill(0);
        for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++) for (let v = 0; v < tall; v++) {
          const row = y * down + v - top;
          for (let u = 0; u < wide; u++, at += n) {
            const column = x * right + u - left;
            if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
            for (let c = 0, to = (row * columns + column) * n; c < n; c++) out[to + c] += patches[at + c];
          }
        }
        apply(f, out);
      }};
    },

    BatchNormalization([input], {epsilon}, [gamma, beta, mean, variance]) {
      const output = tensor(input.shape), n = gamma.data.length;
      const scale = gamma.data.map((value, i) => value / Math.sqrt(variance.data[i] + epsilon));
      const shift = beta.data.map((value, i) => value - mean.data[i] * scale[i]);
      return {output, run() {
        for (let i = 0; i < output.data.length;) for (let c = 0; c < n; c++, i++) output.data[i] = input.data[i] * scale[c] + shift[c];
      }};
    },

    // Mean and variance of the channels of a group, over all positions.
    GroupNormalization([input], {groups, epsilon}, [gamma, beta]) {
      const output = tensor(input.shape), n = gamma.data.length, width = n / groups, positions = input.data.length / n;
      return {output, run() {
        for (let group = 0; group < groups; group++) {
          const first = group * width, count = positions * width;
          let sum = 0, squares = 0;
          for (let p = 0; p < positions; p++) for (let c = 0; c < width; c++) sum += input.data[p * n + first + c];
          const mean = sum / count;
          for (let p = 0; p < positions; p++) for (let c = 0; c < width; c++) squares += (input.data[p * n + first + c] - mean) ** 2;
          const factor = 1 / Math.sqrt(squares / count + epsilon);
          for (let c = first; c < first + width; c++) {
            const scale = factor * gamma.data[c], shift = beta.data[c] - mean * scale;
            for (let p = 0, i = c; p < positions; p++, i += n) output.data[i] = input.data[i] * scale + shift;
          }
        }
      }};
    },

    // Self-attention of several heads over the rows of a (rows, channels) array.
    MultiHeadAttention([query, key], {num_heads: heads, key_dim: width}, weights) {
      if (query !== key) throw new Error("only self-attention is known to the runtime");
      const [q, qBias, k, kBias, v, vBias, o, oBias] = weights.map(weight => weight.data);
      const [rows, channels] = query.shape, inner = heads * width, output = tensor(query.shape);
      const [queries, keys, values, mixed] = Array.from({length: 4}, () => new Float32Array(rows * inner));
      const scores = new Float32Array(rows), factor = 1 / Math.sqrt(width);
      return {output, run() {
        multiply(query.data, q, queries, rows, channels, inner, qBias);
        multiply(query.data, k, keys, rows, channels, inner, kBias);
        multiply(query.data, v, values, rows, channels, inner, vBias);
        mixed.fill(0);
        for (let head = 0; head < heads; head++) for (let i = 0; i < rows; i++) {
          const at = i * inner + head * width;
          let largest = -Infinity, total = 0;
          for (let j = 0; j < rows; j++) {
            let product = 0;
            for (let d = 0, other = j * inner + head * width; d < width; d++) product += queries[at + d] * keys[other + d];
            scores[j] = product * factor;
            if (scores[j] > largest) largest = scores[j];
          }
          for (let j = 0; j < rows; j++) total += scores[j] = Math.exp(scores[j] - largest);
          for (let j = 0; j < rows; j++) {
            const weight = scores[j] / total;
            for (let d = 0, other = j * inner + head * width; d < width; d++) mixed[at + d] += weight * values[other + d];
          }
        }
        multiply(mixed, o, output.data, rows, inner, channels, oBias);
      }};
    },

    ReLU: ([input]) => elementwise(input, activation("relu")),
    LeakyReLU: ([input], {negative_slope: slope}) => elementwise(input, x => (x < 0 ? slope * x : x)),
    Activation: ([input], {activation: name}) => elementwise(input, activation(name) ?? (x => x)),
    Rescaling: ([input], {scale, offset}) => elementwise(input, x => x * scale + offset),
    Sin: ([input]) => elementwise(input, Math.sin),
    Cos: ([input]) => elementwise(input, Math.cos),
    Add: inputs => broadcast(inputs, (a, b) => a + b),
    Multiply: inputs => broadcast(inputs, (a, b) => a * b),

    Reshape: ([input], {target_shape: shape}) => ({output: {shape: full(shape, input.data.length), data: input.data}, run() {}}),
    Flatten: ([input]) => ({output: {shape: [input.data.length], data: input.data}, run() {}}),
    // Only in training they change anything.
    Dropout: ([input]) => ({output: input, run() {}}),
    GaussianNoise: ([input]) => ({output: input, run() {}}),

    // Along the last axis.
    Concatenate(inputs) {
      const widths = inputs.map(({shape}) => shape.at(-1)), width = widths.reduce((a, b) => a + b);
      const output = tensor([...inputs[0].shape.slice(0, -1), width]), rows = output.data.length / width;
      return {output, run() {
        let first = 0;
        inputs.forEach(({data}, index) => {
          const count = widths[index];
          for (let row = 0; row < rows; row++) for (let c = 0; c < count; c++) output.data[row * width + first + c] = data[row * count + c];
          first += count;
        });
      }};
    },

    ZeroPadding2D: ([input], {padding: [[top, bottom], [left, right]]}) => border(input, top, bottom, left, right),
    Cropping2D: ([input], {cropping: [[top, bottom], [left, right]]}) => border(input, -top, -bottom, -left, -right),

    GlobalAveragePooling2D([input]) {
      const n = input.shape.at(-1), output = tensor([n]), positions = input.data.length / n;
      return {output, run() {
        output.data.fill(0);
        for (let i = 0; i < input.data.length; i++) output.data[i % n] += input.data[i] / positions;
      }};
    },

    MaxPooling2D([input], {pool_size: [tall, wide], strides: [down, right]}) {
      const [height, width, n] = input.shape, rows = Math.floor((height - tall) / down) + 1, columns = Math.floor((width - wide) / right) + 1;
      const output = tensor([rows, columns, n]);
      return {output, run() {
        for (let y = 0, at = 0; y < rows; y++) for (let x = 0; x < columns; x++) for (let c = 0; c < n; c++, at++) {
          let largest = -Infinity;
          for (let v = 0; v < tall; v++) for (let u = 0; u < wide; u++) {
            largest = Math.max(largest, input.data[((y * down + v) * width + x * right + u) * n + c]);
          }
          output.data[at] = largest;
        }
      }};
    },
  };

  const full = (shape, count) => shape.map(length => (length === -1 ? count / Math.abs(size(shape)) : length));

  function elementwise(input, f) {
    const output = tensor(input.shape);
    return {output, run() {
      for (let i = 0; i < output.data.length; i++) output.data[i] = f(input.data[i]);
    }};
  }

  // Inputs of fewer numbers than the largest are repeated: single numbers, or one number for each channel.
  function broadcast(inputs, f) {
    const largest = inputs.reduce((a, b) => (b.data.length > a.data.length ? b : a)), output = tensor(largest.shape);
    for (const {shape, data} of inputs) {
      if (data.length !== 1 && data.length !== largest.data.length && data.length !== shape.at(-1)) {
        throw new Error(`an array of the shape ${shape} with one of ${largest.shape} is not known to the runtime`);
      }
    }
    return {output, run() {
      const out = output.data;
      inputs.forEach(({data}, index) => {
        const n = data.length;
        if (!index) for (let i = 0, j = 0; i < out.length; i++, j = j + 1 === n ? 0 : j + 1) out[i] = data[j];
        else for (let i = 0, j = 0; i < out.length; i++, j = j + 1 === n ? 0 : j + 1) out[i] = f(out[i], data[j]);
      });
    }};
  }

  // Add rows and columns of zeros; negative numbers remove rows and columns.
  function border(input, top, bottom, left, right) {
    const [height, width, n] = input.shape, output = tensor([height + top + bottom, width + left + right, n]);
    const [rows, columns] = output.shape;
    return {output, run() {
      for (let y = Math.max(0, top); y < Math.min(rows, height + top); y++) {
        for (let x = Math.max(0, left); x < Math.min(columns, width + left); x++) {
          const to = (y * columns + x) * n, from = ((y - top) * width + x - left) * n;
          for (let c = 0; c < n; c++) output.data[to + c] = input.data[from + c];
        }
      }
    }};
  }

  imggenLive.network = (arrays, {nodes, output}) => {
    const values = new Map(), steps = [], inputs = {};
    const read = input => {
      if (typeof input === "string") return values.get(input);
      const data = Float32Array.from([input].flat(Infinity));
      return {shape: [data.length], data};
    };
    for (const {name, op, inputs: sources, options, weights} of nodes) {
      if (op === "InputLayer") {
        inputs[name] = tensor(options.shape);
        values.set(name, inputs[name]);
        continue;
      }
      if (!(op in operations)) throw new Error(`the layer ${op} is not known to the runtime`);
      const step = operations[op](sources.map(read), options, weights.map(weight => arrays[weight]));
      values.set(name, step.output);
      steps.push(step.run);
    }
    return {
      inputs,
      output: values.get(output),
      value: name => values.get(name),
      run(given) {
        for (const name in inputs) inputs[name].data.set(given[name]);
        for (const step of steps) step();
        return values.get(output).data;
      },
    };
  };
})();
