// The figure "convolution": a kernel slides over an image. The arithmetic is that of imggen_lib.convolution, and the tests compare both.
"use strict";

(() => {
  // An image is {width, height, data}: one number per pixel, row by row. A kernel has the same form.

  function outputSize(size, kernelSize, { stride, padding, dilation }) {
    const covered = dilation * (kernelSize - 1) + 1;
    if (padding === "same") return Math.ceil(size / stride);
    return Math.max(Math.floor((size - covered) / stride) + 1, 0);
  }

  // The number of zeros before the image. "same" fixes the size of the result first; an odd zero is put after the image.
  function zerosBefore(size, kernelSize, options) {
    const needed = (outputSize(size, kernelSize, options) - 1) * options.stride + options.dilation * (kernelSize - 1) + 1;
    return options.padding === "same" ? Math.floor(Math.max(needed - size, 0) / 2) : 0;
  }

  function crossCorrelate(image, kernel, options) {
    const { stride, dilation } = options;
    const width = outputSize(image.width, kernel.width, options);
    const height = outputSize(image.height, kernel.height, options);
    const left = zerosBefore(image.width, kernel.width, options);
    const top = zerosBefore(image.height, kernel.height, options);
    const data = new Float32Array(width * height);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        let sum = 0;
        for (let p = 0; p < kernel.height; p++) {
          const row = i * stride + p * dilation - top;
          if (row < 0 || row >= image.height) continue;
          for (let q = 0; q < kernel.width; q++) {
            const column = j * stride + q * dilation - left;
            if (column < 0 || column >= image.width) continue;
            sum += image.data[row * image.width + column] * kernel.data[p * kernel.width + q];
          }
        }
        data[i * width + j] = sum;
      }
    }
    return { width, height, data };
  }

  (imggenLive.core ??= {}).convolution = { outputSize, zerosBefore, crossCorrelate };

  // --- The figure ---------------------------------------------------------------------------------------------------------------

  // For each preset: its name, the weights row by row, the number that divides them, and how the result is displayed.
  const PRESETS = {
    identity: ["Identity", "0 0 0 0 1 0 0 0 0", 1, "clipped"],
    mean: ["Mean, 3 × 3", "1 1 1 1 1 1 1 1 1", 9, "clipped"],
    gaussian: ["Gaussian, 5 × 5", "1 4 6 4 1 4 16 24 16 4 6 24 36 24 6 4 16 24 16 4 1 4 6 4 1", 256, "clipped"],
    sharpen: ["Sharpen", "0 -1 0 -1 5 -1 0 -1 0", 1, "clipped"],
    sobel_x: ["Sobel x: vertical edges", "-1 0 1 -2 0 2 -1 0 1", 1, "signed"],
    sobel_y: ["Sobel y: horizontal edges", "-1 -2 -1 0 0 0 1 2 1", 1, "signed"],
    laplacian: ["Laplacian: fine detail", "0 1 0 1 -4 1 0 1 0", 1, "signed"],
    emboss: ["Emboss", "-2 -1 0 -1 1 1 0 1 2", 1, "clipped"],
    shift: ["Shift by two pixels", "0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, "clipped"],
  };

  // From negative to positive, through white: the colours of the signed results on the page.
  const NEGATIVE = [0.33, 0.15, 0.53], POSITIVE = [0.8, 0.43, 0.02], MARK = "#00a0e4";

  function grey({ width, height, data }) {
    return { width, height, data: Float32Array.from({ length: width * height }, (_, k) => (data[3 * k] + data[3 * k + 1] + data[3 * k + 2]) / 3) };
  }

  function coloured(result, display, largest) {
    if (display === "clipped") return result.data;
    if (display === "absolute") return result.data.map(value => Math.abs(value) / largest);
    const data = new Float32Array(3 * result.data.length);
    result.data.forEach((value, k) => {
      const part = Math.min(Math.abs(value) / largest, 1), colour = value < 0 ? NEGATIVE : POSITIVE;
      for (let c = 0; c < 3; c++) data[3 * k + c] = 1 + part * (colour[c] - 1);
    });
    return data;
  }

  const number = value => value.toFixed(2).replace("-", "−");

  async function start(root, tools) {
    const photograph = grey(await imggenLive.photograph(tools));
    let image = photograph, kernel, result, place = { i: 50, j: 74 }, camera;

    const stage = tools.stage();
    stage.classList.add("live-grid");
    const [before, after] = [["Image", "Image, with the window of the sum below"], ["Result", "Result of the convolution"]].map(([title, label]) =>
      tools.canvas(stage.appendChild(document.createElement("div")), { title, label, width: image.width, height: image.height, scale: 2 }));

    const first = tools.row();
    const preset = tools.select(first, {
      name: "preset", label: "Kernel", value: "sobel_x",
      options: [...Object.entries(PRESETS).map(([key, [title]]) => [key, title]), ["own", "Your own weights"]],
      onChange: choose,
    });
    const display = tools.select(first, {
      name: "display", label: "Display of the result", value: PRESETS[preset.value]?.[3], onChange: show,
      options: [["clipped", "0 black, 1 white, clipped"], ["signed", "negative violet, positive orange"], ["absolute", "absolute value"]],
    });
    const second = tools.row();
    const stride = tools.slider(second, { name: "stride", label: "Stride", min: 1, max: 4, value: 1, onChange: compute });
    const dilation = tools.slider(second, { name: "dilation", label: "Dilation", min: 1, max: 8, value: 1, onChange: compute });
    const padding = tools.select(second, {
      name: "padding", label: "Padding", value: "valid", options: [["valid", "valid: none"], ["same", "same: zeros"]], onChange: compute,
    });

    const sum = tools.row("One sum, written out. Click or tap on the image to choose its place.");
    const row = tools.slider(sum, { label: "Row of the result", min: 0, max: 1, value: 0, onChange: i => move({ ...place, i }) });
    const column = tools.slider(sum, { label: "Column of the result", min: 0, max: 1, value: 0, onChange: j => move({ ...place, j }) });
    const tables = tools.row();
    tables.classList.add("live-top");
    const [pixels, weights, products] = ["Pixels in the window", "× weights (edit them)", "= products"].map(title => {
      const box = document.createElement("div");
      const grid = Object.assign(document.createElement("div"), { className: "live-numbers" });
      box.append(Object.assign(document.createElement("p"), { textContent: title }), grid);
      tables.append(box);
      return grid;
    });
    const divisorBox = Object.assign(document.createElement("label"), { textContent: "divided by " });
    const divisor = Object.assign(document.createElement("input"), { type: "number", step: "any" });
    divisorBox.append(divisor);
    weights.after(divisorBox);
    const total = Object.assign(document.createElement("p"), { className: "live-total" });
    products.after(total);

    const source = tools.row("Your own image (it stays in this page)");
    const file = tools.file(source, { label: "Image file", side: image.width, onImage: chosen => use(grey(chosen)) });
    const cameraButton = tools.button(source, "Use the camera", toggleCamera);
    tools.button(source, "Built-in photograph", () => use(photograph));

    const linkedWeights = tools.setting("weights", "", () => [...kernel.entered, kernel.divisor].map(String).join(" "));

    // --- The kernel ---

    function setKernel(entered, divide) {
      const side = Math.sqrt(entered.length);
      kernel = { width: side, height: side, entered, divisor: divide, data: entered.map(weight => weight / divide) };
    }

    function buildWeights() {
      for (const grid of [pixels, weights, products]) {
        grid.replaceChildren();
        grid.style.gridTemplateColumns = `repeat(${kernel.width}, auto)`;
      }
      kernel.entered.forEach((weight, k) => {
        const name = `Weight in row ${Math.floor(k / kernel.width) + 1}, column ${(k % kernel.width) + 1}`;
        const input = Object.assign(document.createElement("input"), { type: "number", step: "any", value: weight, ariaLabel: name });
        input.addEventListener("input", edit);
        weights.append(input);
        for (const grid of [pixels, products]) grid.append(document.createElement("span"));
      });
      divisor.value = kernel.divisor;
    }

    // What is not a number, such as an empty field, counts as 0, and a divisor of 0 as 1.
    function edit() {
      setKernel([...weights.children].map(input => Number(input.value) || 0), Number(divisor.value) || 1);
      preset.set("own");
      compute();
    }
    divisor.addEventListener("input", edit);

    function choose(key) {
      if (key === "own") return;
      const [, entered, divide, shown] = PRESETS[key];
      setKernel(entered.split(" ").map(Number), divide);
      display.set(shown);
      buildWeights();
      compute();
    }

    // --- Computing and drawing ---

    const options = () => ({ stride: stride.value, dilation: dilation.value, padding: padding.value });

    function compute() {
      // Without padding, a kernel that is larger than the image has no result.
      if (outputSize(Math.min(image.width, image.height), kernel.width, options()) === 0) padding.set("same");
      result = crossCorrelate(image, kernel, options());
      row.element.max = result.height - 1;
      column.element.max = result.width - 1;
      before.size(image.width, image.height);
      after.size(result.width, result.height);
      show();
    }

    function show() {
      const sorted = result.data.slice().sort(), sizes = result.data.map(Math.abs).sort();
      // A hundredth of the values may exceed the scale of the colours: otherwise a few extreme ones would make all others pale.
      const largest = Math.max(sizes[Math.floor(0.99 * (sizes.length - 1))], 1e-6);
      after.shown = coloured(result, display.value, largest);
      const scale = display.value === "clipped" ? "" : ` The colours reach to ±${number(largest)}.`;
      // A screen reader would read every frame of the camera.
      if (camera) tools.say("The camera's images are filtered in this page. They are neither stored nor sent.");
      else tools.say(`The result has ${result.width} × ${result.height} pixels, with values from ${number(sorted[0])} to ${number(sorted.at(-1))}.${scale}`);
      move(place);
    }

    // Mark the place, in the result, of the sum that is written out, and its window in the image.
    function move({ i, j }) {
      place = { i: Math.min(Math.max(i, 0), result.height - 1), j: Math.min(Math.max(j, 0), result.width - 1) };
      row.set(place.i);
      column.set(place.j);
      const top = place.i * stride.value - zerosBefore(image.height, kernel.height, options());
      const left = place.j * stride.value - zerosBefore(image.width, kernel.width, options());
      before.draw(image.data);
      after.draw(after.shown);
      const reach = (kernel.width - 1) * dilation.value + 1;
      for (const { context } of [before, after]) context.fillStyle = context.strokeStyle = MARK;
      before.context.strokeRect(left - 0.5, top - 0.5, reach + 1, reach + 1);
      after.context.strokeRect(place.j - 0.5, place.i - 0.5, 2, 2);
      let sum = 0;
      kernel.data.forEach((weight, k) => {
        const y = top + Math.floor(k / kernel.width) * dilation.value, x = left + (k % kernel.width) * dilation.value;
        const inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
        const value = inside ? image.data[y * image.width + x] : 0;
        if (dilation.value > 1) before.context.fillRect(x, y, 1, 1);
        pixels.children[k].textContent = number(value);
        pixels.children[k].classList.toggle("live-outside", !inside);
        products.children[k].textContent = number(weight * value);
        sum += weight * value;
      });
      total.textContent = `sum: ${number(sum)}`;
    }

    // A click, a tap or dragging moves the window.
    for (const view of [before, after]) {
      view.point(({ x, y }) => {
        if (view === after) return move({ i: Math.floor(y), j: Math.floor(x) });
        const middle = { i: ((kernel.height - 1) * dilation.value) / 2, j: ((kernel.width - 1) * dilation.value) / 2 };
        const offset = { i: zerosBefore(image.height, kernel.height, options()), j: zerosBefore(image.width, kernel.width, options()) };
        move({
          i: Math.round((Math.floor(y) + offset.i - middle.i) / stride.value),
          j: Math.round((Math.floor(x) + offset.j - middle.j) / stride.value),
        });
      });
    }

    // --- The reader's image ---

    function use(chosen) {
      stopCamera();
      image = chosen;
      compute();
    }

    async function toggleCamera() {
      if (camera) {
        stopCamera();
        show();
        return;
      }
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      } catch (error) {
        file.say(`The camera cannot be used (${error.message}). Choose an image file instead.`);
        return;
      }
      const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
      camera = { stream, end: () => {} };
      if (tools.stopped) {
        stopCamera();
        return;
      }
      cameraButton.textContent = "Keep this frame";
      await video.play();
      if (!camera || tools.stopped) return;
      camera.end = tools.frames(() => {
        if (video.readyState < 2) return;
        const height = Math.round((photograph.width * video.videoHeight) / video.videoWidth);
        image = grey(tools.fromSource(video, photograph.width, height));
        compute();
      });
    }

    function stopCamera() {
      camera?.end();
      camera?.stream.getTracks().forEach(track => track.stop());
      camera = undefined;
      cameraButton.textContent = "Use the camera";
    }

    // --- The first look ---

    const numbers = linkedWeights.split(" ").map(Number);
    const usable = [10, 26].includes(numbers.length) && numbers.every(Number.isFinite) && numbers.at(-1) !== 0;
    if (preset.value === "own" && usable) {
      setKernel(numbers.slice(0, -1), numbers.at(-1));
      buildWeights();
      compute();
    } else {
      const shown = display.value;
      choose(preset.value === "own" ? "identity" : preset.value);
      display.set(shown);
      show();
    }
    return stopCamera;
  }

  imggenLive.register("convolution", { needs: ["photograph"], start });
})();
