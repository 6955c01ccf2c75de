// A transformer that writes an image of scenes of emoji token by token. The reader marks tokens, and they are sampled again.
imggenLive.register("tokens", {
  needs: ["runtime", "sampler", "caption", "weights/emoji_tokens"],
  start(root, tools) {
    const {record, arrays} = tools.weights("emoji_tokens"), [rows, columns] = record.token_shape, count = rows * columns;
    const networks = [0, 1].map(() => imggenLive.network(arrays, record.network));
    const decoder = imggenLive.network(arrays, record.decoder), [side] = decoder.output.shape, resolution = 5 * side, cell = resolution / columns;
    const {codebook} = arrays, [codesName] = Object.keys(decoder.inputs), all = Array.from({length: count}, (_, i) => i);
    // What a token takes if all are equally likely.
    const mostBits = Math.log2(codebook.shape[0]);

    const stage = tools.stage();
    const view = tools.canvas(stage, {
      label: `Image of ${rows} × ${columns} tokens. The arrow keys move the cursor, and the space bar marks the token under it.`,
      title: "Image", width: resolution, height: resolution, scale: 1,
    });
    const bitsView = tools.canvas(stage, {
      label: `Bits of each token, from white for 0 to black for ${mostBits.toFixed(0)} or more`, title: "Bits of each token",
      width: columns, height: rows, scale: 16, share: 1 / 2,
    });
    const earlier = tools.canvas(stage, {label: "Image before the last repainting", title: "Before repainting", width: side, height: side, scale: 2, share: 1 / 2});
    view.element.tabIndex = 0;
    view.element.setAttribute("role", "application");
    Object.assign(view.element.style, {cursor: "crosshair", touchAction: "pan-y pinch-zoom"});
    const small = Object.assign(document.createElement("canvas"), {width: side, height: side}), smallContext = small.getContext("2d");

    // Next to the image, so that on a phone the marks, the buttons and the result are seen together; and above the message, whose
    // length changes, so that they stay where they are.
    const buttons = tools.row();
    stage.after(buttons);
    const runButton = tools.button(buttons, "Generate", () => {
      if (running) {
        pause();
        return tools.say(`Paused after ${sampler.k} of ${open.length} tokens.`);
      }
      if (sampler && !sampler.done) return run();
      generate();
    });
    tools.button(buttons, "Repaint the marked tokens", repaint);
    tools.button(buttons, "Clear the marks", () => {
      marks.clear();
      paint();
      sayMarks();
    });

    const caption = imggenLive.captions(record).controls(tools, {value: "a red apple left of a blue car", onChange: changed});
    const settings = tools.row("Sampling"), tenths = value => value.toFixed(1);
    const temperature = tools.slider(settings, {name: "temperature", label: "Temperature", min: 0, max: 1.5, step: 0.1, value: 1, format: tenths, onChange: changed});
    const guidance = tools.slider(settings, {name: "guidance", label: "Guidance scale", min: 0, max: 6, step: 0.5, value: 2, format: tenths, onChange: changed});
    const seed = tools.slider(settings, {name: "seed", label: "Seed", min: 0, max: 99, value: 1, onChange: changed});

    // `open` are the positions that are sampled; the sampler keeps the other tokens.
    let sampler = null, open = all, running = null, timer, repaints = 0, cursor = 0, brush = null, finger = null;
    const known = new Set(), bits = new Float32Array(count), marks = new Set(readMarks(tools.setting("marks", "", writeMarks)));
    earlier.element.parentElement.hidden = true;

    // Marks in the link: one hexadecimal digit for four tokens.
    function writeMarks() {
      const digits = Array.from({length: Math.ceil(count / 4)}, (_, i) => [0, 1, 2, 3].reduce((sum, bit) => sum + (marks.has(4 * i + bit) ? 1 << bit : 0), 0));
      return marks.size ? digits.map(digit => digit.toString(16)).join("") : "";
    }
    function readMarks(text) {
      return all.filter(i => parseInt(text[i >> 2], 16) >> i % 4 & 1);
    }

    // After a change a new image is generated, as soon as the reader leaves the control alone; or nothing, if tokens are marked, so
    // that they can be repainted with other settings. A repainting that runs begins again.
    function changed() {
      if (marks.size && sampler?.done) return tools.say(caption.read() ? "Repaint the marked tokens with these settings, or generate a new image." : "The caption cannot be used.");
      pause();
      timer = setTimeout(() => (sampler?.done === false ? begin(open) : generate()), 300);
    }
    function generate() {
      repaints = 0;
      begin(all);
    }
    function repaint() {
      if (!sampler?.done) return tools.say("The image is not complete yet. Repaint it when all tokens are sampled.");
      if (!marks.size) return tools.say("No token is marked. Mark tokens on the image with the pointer, or with the arrow keys and the space bar.");
      earlier.draw(decode(sampler.tokens));
      repaints += 1;
      begin(all.filter(position => marks.has(position)));
    }
    function begin(positions) {
      pause();
      const read = caption.read();
      if (!read) return tools.say("The caption cannot be used.");
      open = positions;
      earlier.element.parentElement.hidden = open === all;
      for (const position of open) known.delete(position);
      const given = sampler?.tokens ?? new Int32Array(count);
      const random = tools.random(1000 * (seed.value + 1) + repaints);
      sampler = imggenLive.tokens({
        networks, condition: read.row, scale: guidance.value, temperature: temperature.value, given, open, uniform: random.uniform,
      });
      Object.assign(sampler, {sampling: 0, decoding: 0, elapsed: 0});
      run();
    }

    // Unknown tokens are zero vectors, so that the image can be shown before it is complete.
    function decode(tokens) {
      const width = codebook.shape[1], codes = new Float32Array(count * width);
      for (const position of known) {
        codes.set(codebook.data.subarray(tokens[position] * width, (tokens[position] + 1) * width), position * width);
      }
      return decoder.run({[codesName]: codes});
    }
    function pause() {
      clearTimeout(timer);
      running = null;
      runButton.textContent = sampler && !sampler.done ? "Continue" : "Generate";
    }
    async function run() {
      const own = running = {}, one = sampler;
      runButton.textContent = "Pause";
      tools.say(`Sampling ${open.length} of ${count} tokens …`);
      while (!one.done) {
        const before = performance.now(), {position, probability} = one.advance(), between = performance.now();
        known.add(position);
        bits[position] = -Math.log2(probability);
        const pixels = decode(one.tokens);
        one.sampling += between - before;
        one.decoding += performance.now() - between;
        show(pixels);
        await tools.pause();
        one.elapsed += performance.now() - before;
        if (running !== own || tools.stopped) return;
      }
      pause();
      const each = root.dataset.milliseconds = one.sampling / one.k, total = bits.reduce((sum, value) => sum + value, 0);
      tools.say(`${one.k} of ${count} tokens sampled in ${(one.elapsed / 1000).toFixed(1)} s: ${each.toFixed(0)} ms for each token in the transformer and `
        + `${(one.decoding / one.k).toFixed(0)} ms in the decoder. All tokens together: ${total.toFixed(0)} bits. The image is complete.`);
    }

    function show(pixels) {
      const image = smallContext.createImageData(side, side);
      for (let i = 0; i < side * side; i++) image.data.set([255 * pixels[3 * i], 255 * pixels[3 * i + 1], 255 * pixels[3 * i + 2], 255], 4 * i);
      smallContext.putImageData(image, 0, 0);
      bitsView.draw(Float32Array.from(bits, (value, position) => (known.has(position) ? 1 - Math.min(value / mostBits, 1) : 1)));
      paint();
    }
    function paint() {
      const {context} = view, {panel} = tools.colours(), place = i => [i % columns * cell, Math.floor(i / columns) * cell];
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, resolution, resolution);
      context.fillStyle = panel;
      for (const position of all) if (!known.has(position)) context.fillRect(...place(position), cell, cell);
      const outline = (path, dashes) => {
        for (const [lineWidth, strokeStyle] of [[6, "#fff"], [3, "#000"]]) {
          Object.assign(context, {lineWidth, strokeStyle});
          context.setLineDash(strokeStyle === "#000" ? dashes : []);
          context.stroke(path);
        }
      };
      // A dashed line around the marked tokens: their sides without a marked neighbour. The tokens stay visible.
      const border = new Path2D(), frame = new Path2D();
      for (const position of marks) {
        const [x, y] = place(position), column = position % columns;
        const side = (inside, neighbour, from, to) => {
          if (inside && marks.has(neighbour)) return;
          border.moveTo(x + cell * from[0], y + cell * from[1]);
          border.lineTo(x + cell * to[0], y + cell * to[1]);
        };
        side(true, position - columns, [0, 0], [1, 0]);
        side(true, position + columns, [0, 1], [1, 1]);
        side(column > 0, position - 1, [0, 0], [0, 1]);
        side(column < columns - 1, position + 1, [1, 0], [1, 1]);
      }
      outline(border, [6, 4]);
      frame.rect(...place(cursor).map(at => at + 3), cell - 6, cell - 6);
      if (document.activeElement === view.element) outline(frame, []);
    }

    const sayMarks = () => tools.say(marks.size ? `${marks.size} of ${count} tokens are marked. Repainting samples them again and keeps the others.` : "No token is marked.");
    function mark(position, on) {
      if (on) marks.add(position); else marks.delete(position);
      paint();
    }
    const under = event => {
      const {x, y} = view.position(event), inside = (value, most) => Math.min(most - 1, Math.max(0, Math.floor(value / cell)));
      return inside(y, rows) * columns + inside(x, columns);
    };
    tools.listen(view.element, "pointerdown", event => {
      view.element.setPointerCapture(event.pointerId);
      cursor = under(event);
      // One stroke marks or unmarks, as its first token needs it. A finger marks by a tap or a sideways stroke; upwards and
      // downwards it scrolls the page.
      brush = !marks.has(cursor);
      finger = event.pointerType === "mouse" ? null : {x: event.clientX, y: event.clientY};
      if (!finger) mark(cursor, brush);
    });
    tools.listen(view.element, "pointermove", event => {
      if (brush === null) return;
      if (finger && Math.abs(event.clientX - finger.x) <= Math.abs(event.clientY - finger.y) + 4) return;
      if (finger) mark(cursor, brush);
      finger = null;
      cursor = under(event);
      mark(cursor, brush);
    });
    tools.listen(view.element, "pointerup", () => {
      if (finger) mark(cursor, brush);
      if (brush !== null) sayMarks();
      brush = finger = null;
    });
    tools.listen(view.element, "pointercancel", () => { brush = finger = null; });
    tools.listen(view.element, "keydown", event => {
      const [right, down] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] ?? [0, 0];
      if (!right && !down && event.key !== " ") return;
      event.preventDefault();
      if (event.key === " ") mark(cursor, !marks.has(cursor));
      const moved = [Math.floor(cursor / columns) + down, cursor % columns + right];
      if (moved[0] >= 0 && moved[0] < rows && moved[1] >= 0 && moved[1] < columns) cursor = moved[0] * columns + moved[1];
      paint();
      tools.say(`Row ${Math.floor(cursor / columns) + 1}, column ${cursor % columns + 1}: ${marks.has(cursor) ? "marked" : "not marked"}. ${marks.size} marked.`);
    });
    tools.listen(view.element, "focus", paint);
    tools.listen(view.element, "blur", paint);
    tools.onColours(paint);

    tools.attribution(`Training data. ${record.attribution}`);
    paint();
    generate();
    return pause;
  },
});
