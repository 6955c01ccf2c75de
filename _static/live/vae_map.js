// The latent plane of the shipped VAE of two dimensions: codes of test images, and the decoder at a cross that the reader moves.
imggenLive.register("vae_map", {
  needs: ["runtime", "weights/vae_2d"],
  start(root, tools) {
    const {record, arrays} = tools.weights("vae_2d"), decoder = imggenLive.network(arrays, record.network);
    const latentName = Object.keys(decoder.inputs)[0], [side, extent, resolution, cells] = [28, 3, 448, 16];
    const codes = arrays.codes.data, labels = arrays.labels.data;
    const colours = ["#4363d8", "#e6194b", "#3cb44b", "#c49000", "#911eb4", "#f58231", "#008080", "#f032e6", "#9a6324", "#808080"];

    const stage = tools.stage(), panel = () => stage.appendChild(document.createElement("div"));
    stage.classList.add("live-map");
    const map = tools.canvas(panel(), {
      label: "Map of the latent plane. The arrow keys move the cross.", title: "Latent plane, −3 to 3", width: resolution, height: resolution, scale: 1,
    });
    const image = tools.canvas(panel(), {label: "Decoded image", title: "Decoded image", width: side, height: side});
    map.element.tabIndex = 0;
    map.element.setAttribute("role", "application");
    map.element.style.imageRendering = "auto";

    const row = tools.row("Code"), two = value => value.toFixed(2).replace("-", "−");
    const slider = (name, label, value) => tools.slider(row, {
      name, label, min: -extent, max: extent, step: 0.05, value, format: two, onChange: () => decode(),
    });
    const [x, y] = [slider("x", "First latent dimension", -1.2), slider("y", "Second latent dimension", 2)];
    const background = tools.select(row, {
      name: "show", label: "Show on the map", options: [["codes", "codes of 1,000 test images"], ["images", "decoded images"], ["both", "both"]],
      value: "codes", onChange: () => paint(),
    });
    const legend = tools.legend(record.classes.map((name, index) => [name, colours[index]]));

    const toPixel = value => (value + extent) / (2 * extent) * resolution;
    const nearest = (a, b) => {
      let best = 0, least = Infinity;
      for (let i = 0; i < labels.length; i++) {
        const distance = Math.hypot(codes[2 * i] - a, codes[2 * i + 1] - b);
        if (distance < least) [best, least] = [i, distance];
      }
      return [record.classes[labels[best]], least];
    };
    const decodeAt = (a, b) => decoder.run({[latentName]: [a, b]});

    // The decoded images are computed once, a row at a time, so that the page stays responsive.
    const atlas = document.createElement("canvas");
    Object.assign(atlas, {width: cells * side, height: cells * side});
    let atlasReady = null;
    async function makeAtlas() {
      const context = atlas.getContext("2d"), pixels = context.createImageData(side, side);
      for (let row = 0; row < cells; row++) {
        for (let column = 0; column < cells; column++) {
          const place = index => ((index + 0.5) / cells * 2 - 1) * extent;
          decodeAt(place(column), -place(row)).forEach((value, i) => pixels.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
          context.putImageData(pixels, column * side, row * side);
        }
        await tools.pause();
        if (tools.stopped) return;
      }
    }

    async function paint() {
      const {ground, ink, line} = tools.colours(), context = map.context, kind = background.value;
      if (kind !== "codes") {
        atlasReady ??= makeAtlas();
        await atlasReady;
        if (tools.stopped || background.value !== kind) return;
      }
      legend.hidden = kind === "images";
      context.fillStyle = ground;
      context.fillRect(0, 0, resolution, resolution);
      if (kind !== "codes") context.drawImage(atlas, 0, 0, resolution, resolution);
      else {
        context.strokeStyle = line;
        context.strokeRect(toPixel(0), 0, 0, resolution);
        context.strokeRect(0, toPixel(0), resolution, 0);
      }
      if (kind !== "images") for (let i = 0; i < labels.length; i++) {
        context.fillStyle = colours[labels[i]];
        context.beginPath();
        context.arc(toPixel(codes[2 * i]), toPixel(-codes[2 * i + 1]), 3, 0, 7);
        context.fill();
      }
      const [column, line2] = [toPixel(x.value), toPixel(-y.value)];
      for (const [width, colour] of [[5, kind === "codes" ? ground : "#000"], [2, kind === "codes" ? ink : "#fff"]]) {
        Object.assign(context, {lineWidth: width, strokeStyle: colour});
        context.beginPath();
        context.moveTo(column - 12, line2);
        context.lineTo(column + 12, line2);
        context.moveTo(column, line2 - 12);
        context.lineTo(column, line2 + 12);
        context.moveTo(column + 16, line2);
        context.arc(column, line2, 16, 0, 7);
        context.stroke();
      }
      context.lineWidth = 1;
    }

    function decode() {
      const begun = performance.now();
      image.draw(decodeAt(x.value, y.value));
      root.dataset.milliseconds = performance.now() - begun;
      const [name, distance] = nearest(x.value, y.value);
      tools.say(`Code (${two(x.value)}, ${two(y.value)}). Class of the nearest test code: ${name}, at a distance of ${two(distance)}.`);
      paint();
    }
    function moveTo(place) {
      x.set((place.x / resolution * 2 - 1) * extent);
      y.set((1 - place.y / resolution * 2) * extent);
      decode();
    }
    map.point(moveTo, () => ({x: toPixel(x.value), y: toPixel(-y.value)}));
    tools.listen(map.element, "keydown", event => {
      const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
      if (!step) return;
      event.preventDefault();
      x.set(x.value + 0.1 * step[0]);
      y.set(y.value + 0.1 * step[1]);
      decode();
    });
    tools.onColours(paint);
    decode();
  },
});
