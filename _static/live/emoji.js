// Scenes of emoji from captions: a rectified flow of latents with a U-Net, classifier-free guidance, and a decoder.
imggenLive.register("emoji", {
  needs: ["runtime", "sampler", "caption", "weights/emoji_diffusion"],
  start(root, tools) {
    const {record, arrays} = tools.weights("emoji_diffusion"), {mean, std} = record.latent, channels = mean.length;
    const network = imggenLive.network(arrays, record.network), velocity = imggenLive.guided(network), size = network.inputs.image.data.length;
    const decoder = imggenLive.network(arrays, record.decoder), [latentName] = Object.keys(decoder.inputs), [side] = decoder.output.shape;
    const decode = state => decoder.run({[latentName]: state.map((value, i) => value * std[i % channels] + mean[i % channels])});
    const [kept, columns] = [6, 10], blank = new Float32Array(3 * side * side).fill(0.9);

    const stage = tools.stage();
    const image = tools.canvas(stage, {label: "Estimate of the image", title: "Noise", width: side, height: side, scale: 4, share: 0.4});
    const earlier = tools.canvas(stage, {label: "Earlier images, which a list below the controls describes", title: "Earlier images, the newest first", width: side, height: side, scale: 2, share: 0.6});
    const history = tools.canvas(stage, {label: "Estimates of the image in all steps", title: "Estimates in all steps", width: side, height: side, scale: 1});
    const gallery = [];
    earlier.element.parentElement.hidden = true;

    const caption = imggenLive.captions(record).controls(tools, {value: "two blue octopuses", onChange: changed});
    const settings = tools.row("Sampler");
    const guidance = tools.slider(settings, {
      name: "guidance", label: "Guidance scale", min: 0, max: 8, step: 0.5, value: 3, format: value => value.toFixed(1), onChange: changed,
    });
    const steps = tools.slider(settings, {name: "steps", label: "Steps", min: 1, max: 30, value: 10, onChange: changed});
    const method = tools.select(settings, {
      name: "method", label: "Method", value: "heun", onChange: changed,
      options: [["heun", "Heun, two evaluations in a step"], ["euler", "Euler, one evaluation in a step"]],
    });
    const seed = tools.slider(settings, {name: "seed", label: "Seed of the noise", min: 0, max: 99, value: 1, onChange: changed});
    const buttons = tools.row();
    const runButton = tools.button(buttons, "Generate", () => {
      if (running) {
        pause();
        return tools.say(`Paused in step ${sampler.k + 1} of ${sampler.steps}.`);
      }
      if (sampler && !sampler.done) return run();
      generate();
    });
    tools.button(buttons, "Next seed", () => {
      seed.set((seed.value + 1) % 100);
      generate();
    });

    const list = tools.row("Earlier images"), described = document.createElement("ol");
    list.append(described);
    list.hidden = true;

    let sampler = null, running = null, step = null, timer;

    // After a change the sampler runs, as soon as the reader leaves the control alone.
    function changed() {
      pause();
      timer = setTimeout(generate, 300);
    }
    function generate() {
      pause();
      const read = caption.read();
      if (!read) return tools.say("The caption cannot be used.");
      const scale = guidance.value, work = {text: read.text, evaluations: 0, milliseconds: 0};
      work.description = `“${read.text}”, guidance scale ${scale.toFixed(1)}, steps: ${steps.value} (${method.value === "heun" ? "Heun" : "Euler"}), seed ${seed.value}`;
      sampler = imggenLive.flow({
        velocity: async (noisy, time) => {
          // Between evaluations the page reacts.
          await tools.pause();
          const before = performance.now(), found = velocity(noisy, time * Math.PI / 2, read.row, scale);
          work.milliseconds += performance.now() - before;
          work.evaluations += scale === 0 || scale === 1 ? 1 : 2;
          return found;
        },
        noise: tools.random(seed.value + 1).normals(size), steps: steps.value, method: method.value,
      });
      Object.assign(sampler, {work, estimates: []});
      drawHistory();
      image.title("Noise");
      image.draw(decode(sampler.state));
      run();
    }

    function pause() {
      clearTimeout(timer);
      running = null;
      runButton.textContent = sampler && !sampler.done ? "Continue" : "Generate";
    }
    async function run() {
      const own = running = {}, one = sampler;
      runButton.textContent = "Pause";
      tools.say(`Generating “${one.work.text}” …`);
      // A step that began before a pause is completed first.
      await step;
      if (running !== own) return;
      while (running === own && !one.done) {
        step = one.advance();
        const {clean, state} = await step;
        if (tools.stopped || sampler !== one) return;
        image.title(one.done ? "Image" : `Step ${one.k} of ${one.steps}`);
        image.draw(decode(one.done ? state : clean));
        one.estimates.push(decoder.output.data.slice());
        drawHistory();
      }
      if (!one.done || sampler !== one) return;
      pause();
      const {text, description, evaluations, milliseconds} = one.work;
      gallery.unshift({description, pixels: one.estimates.at(-1)});
      gallery.length = Math.min(gallery.length, kept + 1);
      drawGallery();
      root.dataset.milliseconds = milliseconds / evaluations;
      tools.say(`“${text}”: ${one.steps} ${one.steps === 1 ? "step" : "steps"}, ${evaluations} evaluations of the network of `
        + `${(milliseconds / evaluations).toFixed(0)} ms, ${(milliseconds / 1000).toFixed(1)} s in all. The image is complete.`);
    }

    function drawSheet(view, images, count, across, gap = 0) {
      const pixels = Array.from({length: count}, (_, index) => images[index] ?? blank);
      const {data, width, height} = tools.sheet(pixels, Math.min(across, count), {width: side, height: side, channels: 3, gap, background: 0.9});
      if (view.element.width !== width || view.element.height !== height) view.size(width, height);
      view.draw(data);
    }
    function drawHistory() {
      drawSheet(history, sampler.estimates, sampler.steps, columns);
    }
    // The newest image is the large one.
    function drawGallery() {
      const [, ...others] = gallery;
      earlier.element.parentElement.hidden = list.hidden = !others.length;
      drawSheet(earlier, others.map(one => one.pixels), kept, kept / 2, 2);
      described.replaceChildren(...others.map(one => Object.assign(document.createElement("li"), {textContent: one.description})));
    }

    tools.attribution(`Training data. ${record.attribution}`);
    generate();
    return pause;
  },
});
