// Latent space of the shipped GAN: directions, interpolation, and arithmetic with the mean latent vectors of the classes.
imggenLive.register("gan", {
  needs: ["runtime", "weights/gan", "weights/classifier"],
  start(root, tools) {
    const {record, arrays} = tools.weights("gan"), packed = tools.weights("classifier");
    const generator = imggenLive.network(arrays, record.network);
    const classifier = imggenLive.network(packed.arrays, packed.record.network);
    const latentName = Object.keys(generator.inputs)[0], imageName = Object.keys(classifier.inputs)[0];
    const [classes, size, side, along] = [record.classes, generator.inputs[latentName].data.length, 28, 9];
    const means = classes.map((_, index) => arrays.means.data.subarray(index * size, (index + 1) * size));

    const stage = tools.stage(), distances = [-4, -2, 0, 2, 4];
    const image = tools.canvas(stage, {label: "Generated image", title: "Generated image", width: side, height: side, share: 0.4});
    const grid = tools.canvas(stage, {
      label: "Four rows of images, one for each random direction, moved by −4 to 4", title: "Each direction from −4 to 4",
      width: distances.length * side, height: 4 * side, scale: 2, share: 0.6,
    });
    const row = tools.canvas(stage, {
      label: "Nine images on the arc from the first to the second latent vector", title: "From the first to the second vector",
      width: along * side, height: side, scale: 2,
    });
    row.element.style.cursor = "pointer";

    // Four directions of length 1 that are orthogonal to each other.
    const directions = [];
    const chance = tools.random(2026);
    while (directions.length < 4) {
      const next = chance.normals(size);
      for (const other of directions) {
        const part = next.reduce((sum, value, i) => sum + value * other[i], 0);
        for (let i = 0; i < size; i++) next[i] -= part * other[i];
      }
      const length = Math.hypot(...next);
      directions.push(next.map(value => value / length));
    }

    const two = value => value.toFixed(1);
    let pending = false;
    const show = () => {
      // However many changes arrive, one image is computed for each repaint.
      if (!pending) requestAnimationFrame(draw);
      pending = true;
    };
    const vectors = tools.row("Latent vectors. Click one of the nine images to move to it.");
    const first = tools.slider(vectors, {name: "first", label: "First vector: seed", min: 0, max: 99, value: 3, onChange: show});
    const second = tools.slider(vectors, {name: "second", label: "Second vector: seed", min: 0, max: 99, value: 5, onChange: show});
    const mix = tools.slider(vectors, {name: "t", label: "From the first to the second", min: 0, max: 1, step: 0.01, value: 0, format: value => value.toFixed(2), onChange: show});
    const moves = tools.row("Random directions");
    const sliders = directions.map((_, index) => tools.slider(moves, {
      name: `d${index + 1}`, label: `Direction ${index + 1}`, min: -6, max: 6, step: 0.1, value: 0, format: two, onChange: show,
    }));
    const arithmetic = tools.row("Arithmetic: add the difference between the mean vectors of two classes");
    const options = classes.map((name, index) => [String(index), name]);
    const chosen = () => {
      if (!strength.value) strength.set(1);
      show();
    };
    const from = tools.select(arithmetic, {name: "from", label: "Subtract", options, value: "7", onChange: chosen});
    const to = tools.select(arithmetic, {name: "to", label: "Add", options, value: "9", onChange: chosen});
    const strength = tools.slider(arithmetic, {name: "strength", label: "Times", min: 0, max: 3, step: 0.1, value: 0, format: two, onChange: show});
    const buttons = tools.row();
    tools.button(buttons, "New sample", () => {
      first.set((first.value + 1) % 100);
      mix.set(0);
      show();
    });
    tools.button(buttons, "Back to the first vector", () => {
      for (const slider of [...sliders, strength, mix]) slider.set(0);
      show();
    });

    // A click on one of the nine images moves the slider to it.
    tools.listen(row.element, "click", event => {
      mix.set(Math.min(Math.floor(row.position(event).x / side), along - 1) / (along - 1));
      show();
    });

    // The arc between two vectors: its coordinates keep the variance 1 of the training.
    const arc = (a, b, t) => {
      const [cos, sin] = [Math.cos(t * Math.PI / 2), Math.sin(t * Math.PI / 2)];
      return a.map((value, i) => cos * value + sin * b[i]);
    };
    const moved = latent => latent.map((value, i) => {
      let sum = value + strength.value * (means[to.value][i] - means[from.value][i]);
      sliders.forEach((slider, index) => { sum += slider.value * directions[index][i]; });
      return sum;
    });
    const generate = latent => generator.run({[latentName]: latent});

    const calls = new Map();
    function draw() {
      pending = false;
      if (tools.stopped) return;
      const [a, b] = [first, second].map(slider => tools.random(slider.value + 1).normals(size));
      const latent = moved(arc(a, b, mix.value)), begun = performance.now(), pixels = generate(latent);
      root.dataset.milliseconds = performance.now() - begun;
      image.draw(pixels);
      const logits = classifier.run({[imageName]: pixels}), best = logits.indexOf(Math.max(...logits));
      const probability = 1 / logits.reduce((sum, logit) => sum + Math.exp(logit - logits[best]), 0);
      tools.say(`Classifier: ${classes[best]}, ${(100 * probability).toFixed(0)} %. Length of the latent vector: ${Math.hypot(...latent).toFixed(1)}; `
        + `in training ${Math.sqrt(size).toFixed(0)} on average.`);
      fill(row, along, Array.from({length: along}, (_, i) => moved(arc(a, b, i / (along - 1)))));
      fill(grid, distances.length, directions.flatMap(direction => distances.map(distance => latent.map((value, i) => value + distance * direction[i]))));
    }

    // Fill a sheet with the images of latent vectors, one after another; a new call for the same sheet replaces it.
    async function fill(view, columns, latents) {
      const call = {key: latents.map(latent => latent.join()).join(";")}, images = [];
      if (calls.get(view)?.key === call.key) return;
      calls.set(view, call);
      for (const latent of latents) {
        images.push(generate(latent).slice());
        if (images.length % columns === 0) {
          await tools.pause();
          if (tools.stopped || calls.get(view) !== call) return;
        }
      }
      view.draw(tools.sheet(images, columns, {width: side, height: side}).data);
    }
    draw();
  },
});
