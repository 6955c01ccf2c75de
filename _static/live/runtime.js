// Evaluates a Keras network in the reader's browser, one input at a time, with plain JavaScript.
//
// tools/export_live.py writes a network as a list of nodes in an order in which each follows its inputs:
//   {name, op, inputs, options, weights}
// `op` is the class of the Keras layer or operation, `inputs` are names of nodes or numbers or arrays of numbers, and `weights`
// are names of arrays. The second output of a node is an input with the name "node:1". imggenLive.network(arrays, description)
// allocates all arrays once and returns
//   {run(inputs, before), inputs, output, value(name), node(name)}
// run() takes {name of an input: array} and returns the output, a Float32Array that the next run overwrites; with `before`, the
// name of a node, it evaluates only the nodes before that one. value(name) is the output of any node, as {shape, data}; tests
// compare it with Keras. node(name) is what evaluates a node: {output, run}. Shapes have no batch axis: (height, width, channels),
// (rows, channels) or (n). Arrays are in C order, channels last.
(() => {
  const size = shape => shape.reduce((a, b) => a * b, 1);
  const tensor = shape => ({shape, data: new Float32Array(size(shape))});

  // c = a b + bias for a (m × k), b (k × n) and c (m × n). Four columns of b are copied to consecutive places of `panel`, and blocks of
  // 2 × 4 sums stay in registers.
  let panel = new Float64Array(4096);
  function multiply(a, b, c, m, k, n, bias) {
    if (m === 1) return multiplyRow(a, b, c, k, n, bias);
    if (panel.length < 4 * k) panel = new Float64Array(4 * k);
    const p = panel;
    let j = 0;
    for (; j + 3 < n; j += 4) {
      for (let l = 0, q = j; l < 4 * k; l += 4, q += n) for (let d = 0; d < 4; d++) p[l + d] = b[q + d];
      const z0 = bias ? bias[j] : 0, z1 = bias ? bias[j + 1] : 0, z2 = bias ? bias[j + 2] : 0, z3 = bias ? bias[j + 3] : 0;
      for (let i = 0; i < m; i += 2) {
        // The last of an odd number of rows is computed twice.
        const next = i + 1 < m ? 1 : 0, row0 = i * k, row1 = row0 + next * k, out0 = i * n + j, out1 = out0 + next * n;
        let s0 = z0, s1 = z1, s2 = z2, s3 = z3, t0 = z0, t1 = z1, t2 = z2, t3 = z3;
        for (let l = 0, q = 0; l < k; l++, q += 4) {
          const x = a[row0 + l], y = a[row1 + l], b0 = p[q], b1 = p[q + 1], b2 = p[q + 2], b3 = p[q + 3];
          s0 += x * b0; s1 += x * b1; s2 += x * b2; s3 += x * b3;
          t0 += y * b0; t1 += y * b1; t2 += y * b2; t3 += y * b3;
        }
        c[out0] = s0; c[out0 + 1] = s1; c[out0 + 2] = s2; c[out0 + 3] = s3;
        c[out1] = t0; c[out1 + 1] = t1; c[out1 + 2] = t2; c[out1 + 3] = t3;
      }
    }
    for (; j < n; j++) for (let i = 0; i < m; i++) {
      let sum = bias ? bias[j] : 0;
      for (let l = 0, q = j; l < k; l++, q += n) sum += a[i * k + l] * b[q];
      c[i * n + j] = sum;
    }
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

  // The error function, to 1.2e-7: Press et al., Numerical Recipes, section 6.2.
  const CHEBYSHEV = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  function erf(x) {
    const t = 1 / (1 + 0.5 * Math.abs(x));
    let sum = 0;
    for (let i = 9; i >= 0; i--) sum = sum * t + CHEBYSHEV[i];
    const rest = t * Math.exp(sum - x * x);
    return x < 0 ? rest - 1 : 1 - rest;
  }

  const activations = {
    linear: null,
    relu: x => (x > 0 ? x : 0),
    sigmoid,
    silu: x => x * sigmoid(x),
    tanh: Math.tanh,
    gelu: x => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  };

  function activation(name) {
    if (!(name in activations)) throw new Error(`the activation ${name} is not known to the runtime`);
    return activations[name];
  }

  function apply(f, data) {
    if (f) for (let i = 0; i < data.length; i++) data[i] = f(data[i]);
  }

  // A dense layer for each of m rows.
  function dense(input, output, m, kernel, bias, f = null) {
    const [k, n] = kernel.shape;
    multiply(input, kernel.data, output, m, k, n, bias?.data);
    apply(f, output);
  }

  // Mean 0 and variance 1 for each row, then times gamma plus beta, if there are any.
  function normalise(input, output, width, epsilon, gamma, beta) {
    for (let at = 0; at < input.length; at += width) {
      let sum = 0, squares = 0;
      for (let c = 0; c < width; c++) sum += input[at + c];
      const mean = sum / width;
      for (let c = 0; c < width; c++) squares += (input[at + c] - mean) ** 2;
      const factor = 1 / Math.sqrt(squares / width + epsilon);
      for (let c = 0; c < width; c++) {
        const value = (input[at + c] - mean) * factor;
        output[at + c] = (gamma ? value * gamma.data[c] : value) + (beta ? beta.data[c] : 0);
      }
    }
  }

  // Attention of the queries of rows first to last with the keys of all rows, or, if `causal`, of the same and earlier rows.
  // visible[j] is 0 where no query attends to row j. The mean of the values, weighted by the softmax, goes to `mixed`.
  function attend([queries, keys, values, mixed], rows, heads, width, {first = 0, last = rows, causal = false, visible = null} = {}) {
    const inner = heads * width, scores = new Float32Array(rows), factor = 1 / Math.sqrt(width);
    mixed.fill(0, first * inner, last * inner);
    for (let head = 0; head < heads; head++) for (let i = first; i < last; i++) {
      const at = i * inner + head * width, end = causal ? i + 1 : rows;
      let largest = -Infinity, total = 0;
      for (let j = 0; j < end; j++) {
        let product = 0;
        for (let d = 0, other = j * inner + head * width; d < width; d++) product += queries[at + d] * keys[other + d];
        scores[j] = visible && !visible[j] ? -Infinity : product * factor;
        if (scores[j] > largest) largest = scores[j];
      }
      for (let j = 0; j < end; j++) total += scores[j] = Math.exp(scores[j] - largest);
      for (let j = 0; j < end; j++) {
        const weight = scores[j] / total;
        if (weight) for (let d = 0, other = j * inner + head * width; d < width; d++) mixed[at + d] += weight * values[other + d];
      }
    }
  }

  // The constant epsilon of imggen_lib/models/transformer.py, text.py and vq/network.py.
  const EPSILON = 1e-5;

  // A block of imggen_lib/models/transformer.py: attention, then two dense layers for each row, both modulated by the condition.
  // weight(name) is an array. run(first, last) computes some rows of a causal block; the keys and values of earlier rows are
  // still there from earlier calls, so rows can be added one at a time, and each is computed once.
  function transformerBlock(input, condition, visible, {heads, causal, shared_modulation: shared}, weight) {
    const [rows, width] = input.shape, output = tensor(input.shape), hidden = tensor([rows, weight("dense_1/kernel").shape[1]]);
    const [normed, queries, keys, values, mixed, added] = Array.from({length: 6}, () => new Float32Array(rows * width));
    const modulation = new Float32Array(6 * width), active = condition && new Float32Array(condition.data.length);
    const modulate = () => {
      if (shared) return condition.data.forEach((value, i) => { modulation[i] = value + weight("offset").data[i]; });
      condition.data.forEach((value, i) => { active[i] = activations.silu(value); });
      dense(active, modulation, 1, weight("modulation/kernel"), weight("modulation/bias"));
    };
    const layer = (name, from, to, m, f) => dense(from, to, m, weight(`${name}/kernel`), weight(`${name}/bias`), f);
    return {output, keys, values, run(first = 0, last = rows) {
      const m = last - first, part = (data, size = width) => data.subarray(first * size, last * size), out = part(output.data);
      if (condition && !first) modulate();
      // Scale, shift and gate are rows 0 to 2 of the modulation for attention, and 3 to 5 for the dense layers.
      const prepare = (norm, row) => {
        const x = part(normed);
        normalise(out, x, width, EPSILON, !condition && weight(`${norm}/gamma`), !condition && weight(`${norm}/beta`));
        if (condition) for (let i = 0, c = row * width, end = c + width; i < x.length; i++, c = c + 1 === end ? row * width : c + 1) {
          x[i] = (1 + modulation[c]) * x[i] + modulation[c + width];
        }
        return x;
      };
      const add = row => {
        const x = part(added);
        for (let i = 0, c = row * width, end = c + width; i < x.length; i++, c = c + 1 === end ? row * width : c + 1) {
          out[i] += condition ? modulation[c] * x[i] : x[i];
        }
      };
      out.set(part(input.data));
      let x = prepare("norm_attention", 0);
      for (const [name, to] of [["query", queries], ["key", keys], ["value", values]]) layer(`attention/${name}`, x, part(to), m);
      attend([queries, keys, values, mixed], rows, heads, width / heads, {first, last, causal, visible: visible?.data});
      layer("attention/output_layer", part(mixed), part(added), m);
      add(2);
      x = prepare("norm_dense", 3);
      layer("dense_1", x, part(hidden.data, hidden.shape[1]), m, activations.gelu);
      layer("dense_2", part(hidden.data, hidden.shape[1]), part(added), m);
      add(5);
    }};
  }

  // Blocks "block_0", "block_1", …, of which each takes the output of the one before.
  function transformerBlocks(input, condition, visible, {depth, ...options}, weight) {
    const blocks = [];
    for (let index = 0; index < depth; index++) {
      blocks.push(transformerBlock(blocks.at(-1)?.output ?? input, condition, visible, options, name => weight(`block_${index}/${name}`)));
    }
    return blocks;
  }

  // Zeros before the first row and column for padding "same": with an odd number of them the larger half is at the end.
  const before = (length, kernel, stride) => Math.max((Math.ceil(length / stride) - 1) * stride + kernel - length, 0) >> 1;

  // Each operation: (inputs, options, weights, weight) → {output, run}. Inputs and weights are tensors; run() fills the output.
  // weight(name) is a weight by its name in the layer. An operation with several outputs returns them as `outputs`, too.
  const operations = {
    Dense([input], {activation: name = "linear"}, [kernel, bias]) {
      const n = kernel.shape[1], output = tensor([...input.shape.slice(0, -1), n]), f = activation(name);
      return {output, run() { dense(input.data, output.data, output.data.length / n, kernel, bias, f); }};
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
      return {output, run() {
        multiply(query.data, q, queries, rows, channels, inner, qBias);
        multiply(query.data, k, keys, rows, channels, inner, kBias);
        multiply(query.data, v, values, rows, channels, inner, vBias);
        attend([queries, keys, values, mixed], rows, heads, width);
        multiply(mixed, o, output.data, rows, inner, channels, oBias);
      }};
    },

    // Word numbers to vectors, and which positions have a word; the first counts as one. See imggen_lib/models/text.py.
    TextEncoder([words], options, weights, weight) {
      const table = weight("words/embeddings"), positions = weight("positions/table"), [rows, width] = positions.shape;
      const vectors = tensor([rows, width]), visible = tensor([rows]), output = tensor([rows, width]);
      const blocks = transformerBlocks(vectors, null, visible, options, weight);
      return {output, outputs: [output, visible], run() {
        words.data.forEach((word, row) => {
          visible.data[row] = word || !row ? 1 : 0;
          for (let c = 0; c < width; c++) vectors.data[row * width + c] = table.data[word * width + c] + positions.data[row * width + c];
        });
        for (const block of blocks) block.run();
        normalise((blocks.at(-1)?.output ?? vectors).data, output.data, width, EPSILON, weight("norm/gamma"), weight("norm/beta"));
      }};
    },

    // Logits of the token at each position, from the tokens before it; see imggen_lib/models/vq/network.py. run(first, last)
    // computes the logits of some positions, after those of all positions before have been computed.
    TokenPredictor([tokens, vector, prefix], options, weights, weight) {
      if (!options.causal || !prefix) throw new Error("only a causal TokenPredictor with a vector and a prefix is known to the runtime");
      const positions = weight("positions/table"), table = weight("table"), [length, width] = positions.shape;
      const before = prefix.shape[0], x = tensor([before + length, width]), normed = tensor([length, width]);
      const kernel = weight("logits/kernel"), codes = kernel.shape[1], output = tensor([length, codes]);
      const blocks = transformerBlocks(x, vector, null, options, weight), last = blocks.at(-1).output.data;
      return {output, blocks, run(from = 0, to = length) {
        if (!from) x.data.set(prefix.data);
        for (let i = from; i < to; i++) {
          const token = i ? tokens.data[i - 1] : options.num_codes;
          for (let c = 0, at = (before + i) * width; c < width; c++) {
            x.data[at + c] = table.data[token * width + c] + positions.data[i * width + c] + vector.data[c];
          }
        }
        for (const block of blocks) block.run(from ? before + from : 0, before + to);
        const rows = normed.data.subarray(from * width, to * width);
        normalise(last.subarray((before + from) * width, (before + to) * width), rows, width, EPSILON, weight("norm/gamma"), weight("norm/beta"));
        dense(rows, output.data.subarray(from * codes, to * codes), to - from, kernel, weight("logits/bias"));
      }};
    },

    TransformerBlock([input, condition, visible], options, weights, weight) {
      return transformerBlock(input, condition, visible, options, weight);
    },
    Positions: ([input], options, [table]) => broadcast([input, table], (a, b) => a + b),
    LayerNormalization([input], {epsilon}, weights, weight) {
      const output = tensor(input.shape), gamma = weight("gamma"), beta = weight("beta");
      return {output, run() { normalise(input.data, output.data, input.shape.at(-1), epsilon, gamma, beta); }};
    },

    ReLU: ([input]) => elementwise(input, activation("relu")),
    LeakyReLU: ([input], {negative_slope: slope}) => elementwise(input, x => (x < 0 ? slope * x : x)),
    Activation: ([input], {activation: name}) => elementwise(input, activation(name) ?? (x => x)),
    Rescaling: ([input], {scale, offset}) => elementwise(input, x => x * scale + offset),
    Silu: ([input]) => elementwise(input, activation("silu")),
    OnesLike: ([input]) => elementwise(input, () => 1),
    Sin: ([input]) => elementwise(input, Math.sin),
    Cos: ([input]) => elementwise(input, Math.cos),
    Add: inputs => broadcast(inputs, (a, b) => a + b),
    Multiply: inputs => broadcast(inputs, (a, b) => a * b),
    TrueDivide: inputs => broadcast(inputs, (a, b) => a / b),

    // The layer has a shape without the axis of the batch, the operation has one with it.
    Reshape: ([input], {target_shape, newshape}) => view(input, full(target_shape ?? newshape.slice(1), input.data.length)),
    Flatten: ([input]) => view(input, [input.data.length]),
    ExpandDims: ([input], {axis}) => {
      const shape = [...input.shape];
      shape.splice(axis < 0 ? shape.length + 1 + axis : axis - 1, 0, 1);
      return view(input, shape);
    },
    // Truth values are 0 and 1.
    Cast: ([input]) => view(input, input.shape),
    // Only in training they change anything.
    Dropout: ([input]) => ({output: input, run() {}}),
    GaussianNoise: ([input]) => ({output: input, run() {}}),

    Concatenate(inputs, {axis = -1}) {
      const at = axis < 0 ? inputs[0].shape.length + axis : axis - 1, shape = [...inputs[0].shape];
      shape[at] = inputs.reduce((sum, input) => sum + input.shape[at], 0);
      const output = tensor(shape), runs = inputs.map(input => size(input.shape.slice(at))), run = size(shape.slice(at));
      return {output, run() {
        let first = 0;
        inputs.forEach(({data}, index) => {
          const count = runs[index];
          for (let row = 0, to = first; to < output.data.length; row++, to += run) {
            for (let i = 0; i < count; i++) output.data[to + i] = data[row * count + i];
          }
          first += count;
        });
      }};
    },

    // Axes are numbered with that of the batch, which stays the first.
    Transpose: ([input], {axes}) => {
      const order = axes.slice(1).map(axis => axis - 1), steps = strides(input.shape);
      return pick(input, order.map(axis => input.shape[axis]), order.map(axis => steps[axis]), 0);
    },
    GetItem([input], {index}) {
      const steps = strides(input.shape), shape = [], along = [];
      let start = 0;
      input.shape.forEach((length, axis) => {
        const item = index[axis] ?? {};
        if (typeof item === "number") return void (start += item * steps[axis]);
        start += (item.start ?? 0) * steps[axis];
        shape.push((item.stop ?? length) - (item.start ?? 0));
        along.push(steps[axis]);
      });
      return pick(input, shape, along, start);
    },
    Sum([input], {axis}) {
      const [length, inner] = [input.shape[axis - 1], size(input.shape.slice(axis))], shape = input.shape.filter((_, i) => i !== axis - 1);
      const output = tensor(shape);
      return {output, run() {
        output.data.fill(0);
        input.data.forEach((value, i) => { output.data[Math.floor(i / (length * inner)) * inner + i % inner] += value; });
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

  // The same numbers in another shape.
  const view = (input, shape) => ({output: {shape, data: input.data}, run() {}});

  // How far the next element along each axis is.
  const strides = shape => shape.map((_, axis) => size(shape.slice(axis + 1)));

  // An array of a shape whose element (i, j, …) is the one at start + i steps[0] + j steps[1] + … of the input.
  function pick(input, shape, steps, start) {
    const output = tensor(shape), own = strides(shape);
    const from = Int32Array.from(output.data, (_, i) => start + steps.reduce((sum, step, axis) => sum + Math.floor(i / own[axis]) % shape[axis] * step, 0));
    return {output, run() {
      for (let i = 0; i < from.length; i++) output.data[i] = input.data[from[i]];
    }};
  }

  function elementwise(input, f) {
    const output = tensor(input.shape);
    return {output, run() {
      for (let i = 0; i < output.data.length; i++) output.data[i] = f(input.data[i]);
    }};
  }

  // Inputs of fewer numbers than the largest are repeated: single numbers, one number for each channel, or one for each row.
  function broadcast(inputs, f) {
    const largest = inputs.reduce((a, b) => (b.data.length > a.data.length ? b : a)), output = tensor(largest.shape);
    const channels = largest.shape.at(-1), repeats = inputs.map(({shape, data}) => {
      const each = shape.at(-1) === 1 && data.length * channels === largest.data.length ? channels : 1;
      if (each === 1 && data.length !== 1 && data.length !== largest.data.length && data.length !== shape.at(-1)) {
        throw new Error(`an array of the shape ${shape} with one of ${largest.shape} is not known to the runtime`);
      }
      return each;
    });
    return {output, run() {
      const out = output.data;
      inputs.forEach(({data}, index) => {
        const n = data.length, each = repeats[index];
        for (let i = 0, j = 0, k = 0; i < out.length; i++) {
          out[i] = index ? f(out[i], data[j]) : data[j];
          if (++k === each) [k, j] = [0, j + 1 === n ? 0 : j + 1];
        }
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
    const values = new Map(), steps = new Map(), inputs = {};
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
      const weight = part => arrays[`${name}/${part}`];
      const step = operations[op](sources.map(read), options, weights.map(found => arrays[found]), weight);
      (step.outputs ?? [step.output]).forEach((value, index) => values.set(index ? `${name}:${index}` : name, value));
      steps.set(name, step);
    }
    return {
      inputs,
      output: values.get(output),
      value: name => values.get(name),
      node: name => steps.get(name),
      run(given, before) {
        for (const name in given) inputs[name].data.set(given[name]);
        for (const [name, step] of steps) {
          if (name === before) break;
          step.run();
        }
        return values.get(output).data;
      },
    };
  };
})();
