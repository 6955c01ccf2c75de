// Sampling with the shipped diffusion model, step by step.
imggenLive.register("diffusion", {
  needs: ["runtime", "sampler", "weights/diffusion"],
  start(root, tools) {
    const {record, arrays} = tools.weights("diffusion"), classes = record.classes, [side, count] = [28, 28 * 28];
    const velocity = imggenLive.guided(imggenLive.network(arrays, record.network));

    const stage = tools.stage();
    const panel = label => tools.canvas(stage, {label, title: label, width: side, height: side, scale: 8, share: 1 / 3});
    const [noisyView, cleanView, nextView] = ["Noisy image", "Estimate of the clean image", "Next state"].map(panel);
    const history = tools.canvas(stage, {
      label: "All steps: noisy images above, estimates of the clean image below", title: "All steps: noisy images above, estimates below",
      width: side, height: 2 * side, scale: 2,
    });

    const settings = tools.row("Sampler");
    const steps = tools.slider(settings, {name: "steps", label: "Steps", min: 1, max: 30, value: 10, onChange: changed});
    const seed = tools.slider(settings, {name: "seed", label: "Seed of the noise", min: 0, max: 99, value: 1, onChange: changed});
    const kind = tools.select(settings, {
      name: "sampler", label: "Kind", value: "1", onChange: changed,
      options: [["1", "DDIM, first order"], ["2", "DDIM, second order"], ["ddpm", "DDPM, with new noise in each step"]],
    });
    const condition = tools.row("Condition");
    const label = tools.select(condition, {
      name: "class", label: "Class", value: "9", onChange: changed,
      options: [...classes.map((name, index) => [String(index), name]), ["none", "no class"]],
    });
    const guidance = tools.slider(condition, {
      name: "guidance", label: "Guidance scale", min: 0, max: 6, step: 0.5, value: 2, format: value => value.toFixed(1), onChange: changed,
    });
    const buttons = tools.row();
    const stepButton = tools.button(buttons, "One step", () => {
      pause();
      report(advance());
    });
    const runButton = tools.button(buttons, "Run", () => {
      if (!running) return run();
      pause();
      tools.say(`Paused after step ${sampler.k} of ${sampler.steps}.`);
    });
    tools.button(buttons, "Back to the noise", restart);

    let sampler, pairs, timer, running = null;
    const shown = data => data.map(value => (value + 1) / 2), grey = new Float32Array(count).fill(0.5);
    const degrees = angle => `${(angle * 180 / Math.PI).toFixed(0)}°`;

    // After a change the sampler runs, as soon as the reader leaves the control alone.
    function changed() {
      restart();
      timer = setTimeout(run, 300);
    }
    function restart() {
      pause();
      const random = tools.random(seed.value + 1), oneHot = label.value === "none" ? null : Float32Array.from(classes, (_, i) => Number(i === Number(label.value)));
      sampler = imggenLive.sampler({
        velocity: (noisy, angle) => velocity(noisy, angle, oneHot, guidance.value),
        noise: random.normals(count), random: random.normal, steps: steps.value,
        order: kind.value === "2" ? 2 : 1, eta: kind.value === "ddpm" ? 1 : 0,
      });
      // Without a class, guidance has nothing to amplify.
      guidance.element.disabled = label.value === "none";
      pairs = [];
      noisyView.draw(shown(sampler.state));
      cleanView.draw(grey);
      nextView.draw(grey);
      noisyView.title("Noisy image at 90°");
      nextView.title("Next state");
      history.size(sampler.steps * side, 2 * side);
      drawHistory();
      stepButton.disabled = false;
      tools.say(`Noise, at the angle of 90°. The sampler takes ${sampler.steps} steps to 0°.`);
    }

    function advance() {
      const begun = performance.now(), {angle, next, noisy, clean, state} = sampler.advance(), took = performance.now() - begun;
      noisyView.draw(shown(noisy));
      cleanView.draw(shown(clean));
      nextView.draw(shown(state));
      noisyView.title(`Noisy image at ${degrees(angle)}`);
      nextView.title(`Next state, at ${degrees(next)}`);
      pairs.push([shown(noisy), shown(clean)]);
      drawHistory();
      stepButton.disabled = sampler.done;
      root.dataset.milliseconds = took;
      return took;
    }
    // Only at the end of a run, so that a screen reader does not read every step of it.
    function report(milliseconds) {
      tools.say(`Step ${sampler.k} of ${sampler.steps}, to ${degrees(sampler.angles[sampler.k])}, computed in ${milliseconds.toFixed(0)} ms.`
        + (sampler.done ? " The image is complete." : ""));
    }

    function drawHistory() {
      const images = [0, 1].flatMap(row => Array.from({length: sampler.steps}, (_, k) => pairs[k]?.[row] ?? grey));
      history.draw(tools.sheet(images, sampler.steps, {width: side, height: side}).data);
    }

    function pause() {
      clearTimeout(timer);
      running = null;
      runButton.textContent = "Run";
    }
    async function run() {
      clearTimeout(timer);
      if (sampler.done) restart();
      const own = running = {};
      runButton.textContent = "Pause";
      while (running === own && !tools.stopped) {
        const took = advance();
        if (sampler.done) {
          pause();
          report(took);
        }
        await tools.pause(50);
      }
    }

    restart();
    run();
    return pause;
  },
});
