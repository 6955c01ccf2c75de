// What all live figures share. It is loaded when the reader starts the first figure of a page.
//
// CONTRACT. The script _static/live/NAME.js of a figure is a classic script (no modules, no import, no fetch: pages are also
// opened from disk) that makes one call:
//
//   imggenLive.register("NAME", {
//     needs: ["runtime", "weights/gan"],   // scripts that must be loaded before, relative to _static/live/, without .js
//     start(root, tools) {                 // build controls and canvases inside the element root; may be async
//       ...
//       return () => { ... };              // stop(): release what `tools` does not release by itself; may be undefined
//     },
//   });
//
// Every label, result and message is text of the page, not of a canvas, so that it can be read aloud and translated. Put
// canvases into an element made by tools.stage(): its look right after the start is the still image _static/live/NAME.png,
// which tools/live_images.py makes. After stop() the harness empties root, so start() may be called again.
//
// `tools`, all of it bound to one running figure:
//
//   Layout     stage()                       an element for canvases; the line of say() is below it, and on a phone both stay in sight
//              row(legend)                   a group of controls; with a legend it is a <fieldset>
//              legend([[text, colour], …])   a list of names with their colours
//   Controls   Each takes the element that it is appended to and an object; each returns {element, value, set(value)}.
//              A control with a `name` takes its first value from the link with which the reader came, and enters the link
//              that the button "Link to these settings" makes. `onChange(value)` is called after each change by the reader.
//              slider(parent, {name, label, min, max, step, value, format, onChange})   number; keyboard and touch included
//              select(parent, {name, label, options: [[value, text], …], value, onChange})   string
//              checkbox(parent, {name, label, value, onChange})   boolean
//              text(parent, {name, label, value, most, onChange})   a line of at most `most` characters
//              button(parent, label, onClick)   returns the <button>
//              file(parent, {label, side, square, onImage})   the reader's image, see readImage; it never leaves the page
//              attribution(text)   the authors of the data that a model was trained on, below the controls
//              note(parent)     a paragraph for a warning that stays; screen readers read it when its text changes
//   Settings   setting(name, initial, read)  a setting without a control: its first value, a string or what the link has;
//                                            read() returns the value for a new link
//   Images     canvas(parent, {label, width, height, scale, title, share})   returns a view. `label` describes it to screen
//              readers, `title` is shown above it, and `share` is the part of the stage's width that it may use (default 1):
//                .draw(data)    data in [0, 1], width × height × 1 or × 3 (channels last), shown at a whole multiple of its pixels,
//                               at most `scale` (default 8) and as wide as there is room
//                .size(width, height)   change the number of pixels
//                .position(event)       {x, y} of a pointer event in pixels of the image (fractions)
//                .point(place, held)    the reader points at the image: place({x, y}) is called for a press and for dragging. A finger
//                               scrolls the page, unless it taps or its movement begins sideways or near held(), the {x, y} of a
//                               mark that the reader can drag
//                .element, .context     the <canvas>, and its 2d context for drawings of your own
//                .title(text)           change the title, if there is one
//              sheet(images, columns, {width, height, channels, gap})   one array with all images side by side, for canvas.draw:
//                               returns {data, width, height}
//              readImage(file, {side = 256, square = false})   Promise of {data, width, height, channels: 3}, data a
//                               Float32Array in [0, 1]; the longer side has at most `side` pixels; throws an Error with a message
//                               for the reader if the file is no image or has more than 50 megapixels
//   Results    say(text)        one line below the stage, read aloud by screen readers (aria-live); for results and messages. The
//                               object that file() returns has a say(text), too, whose line is next to the control
//   Colours    colours()        {ink, quiet, ground, panel, line, edge, accent} of the book, as it looks now (light or dark)
//              onColours(draw)  calls draw when the reader changes between light and dark
//   Time       frames(step)     calls step(milliseconds) before each repaint, until the function that it returns is called
//              listen(target, type, handler, options)   addEventListener, removed at the end
//              Both end by themselves when the figure stops. tools.stopped is true from then on: check it after each await.
//              pause(milliseconds = 0)   Promise that lets the browser repaint and react; await it between long steps
//   Chance     random(seed)     {uniform(), normal(), normals(n)}: the same numbers for the same seed, in every browser
//   Weights    weights(name)    {record, arrays: {name: {shape, data: Float32Array}}} of the script weights/NAME.js
(() => {
  const figures = new Map(), packed = new Map(), scripts = new Map(), running = new Map();
  const MEGAPIXELS = 50;
  let identifiers = 0;

  function load(url) {
    if (!scripts.has(url)) {
      scripts.set(url, new Promise((done, fail) => {
        const script = document.createElement("script");
        script.src = url;
        script.onload = done;
        script.onerror = () => {
          scripts.delete(url);
          script.remove();
          fail(new Error(`The script ${url.split("/").pop()} could not be loaded. Reload the page and try again.`));
        };
        document.head.append(script);
      }));
    }
    return scripts.get(url);
  }

  function add(parent, tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    parent?.append(element);
    return element;
  }

  // --- Random numbers: mulberry32, and the Box-Muller transform of pairs of its numbers ---

  function random(seed) {
    let state = seed >>> 0, spare = null;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => {
      if (spare !== null) {
        const value = spare;
        spare = null;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    };
    return {uniform, normal, normals: n => Float32Array.from({length: n}, normal)};
  }

  // A message next to a control. It returns a function that writes it.
  function message(parent) {
    const line = add(parent, "p", {className: "live-message"});
    line.setAttribute("role", "status");
    return text => { line.textContent = text; };
  }

  // --- The reader's image ---

  async function readImage(file, {side = 256, square = false} = {}) {
    const refused = new Error(`${file.name || "The file"} is not an image that this browser can read. Choose a PNG, JPEG, WebP or GIF file.`);
    const address = URL.createObjectURL(file);
    let width, height;
    try {
      // The size is known before the image is decoded.
      const probe = new Image();
      await new Promise((done, fail) => Object.assign(probe, {onload: done, onerror: fail, src: address}));
      [width, height] = [probe.naturalWidth, probe.naturalHeight];
    } catch {
      throw refused;
    } finally {
      URL.revokeObjectURL(address);
    }
    if (!width || !height) throw refused;
    if (width * height > MEGAPIXELS * 1e6) {
      const size = Math.ceil(width * height / 1e6);
      throw new Error(`${file.name} has ${width} × ${height} pixels (${size} megapixels); at most ${MEGAPIXELS} megapixels can be read. Choose a smaller image.`);
    }
    const cut = square ? Math.min(width, height) : 0;
    const [left, top] = square ? [(width - cut) >> 1, (height - cut) >> 1] : [0, 0];
    const [from, tall] = square ? [cut, cut] : [width, height];
    const factor = Math.min(1, side / Math.max(from, tall));
    const [columns, rows] = [Math.max(1, Math.round(from * factor)), Math.max(1, Math.round(tall * factor))];
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, left, top, from, tall, {resizeWidth: columns, resizeHeight: rows, resizeQuality: "high"});
    } catch {
      throw refused;
    }
    return fromSource(bitmap, columns, rows);
  }

  // The pixels of an image, canvas or video, drawn to the given size. Transparent pixels become white.
  function fromSource(source, width, height) {
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(source, 0, 0, width, height);
    source.close?.();
    const bytes = context.getImageData(0, 0, width, height).data, data = new Float32Array(width * height * 3);
    for (let i = 0, o = 0; i < bytes.length; i += 4) for (let c = 0; c < 3; c++) data[o++] = bytes[i + c] / 255;
    return {data, width, height, channels: 3};
  }

  function sheet(images, columns, {width, height, channels = 1, gap = 0, background = 1} = {}) {
    const rows = Math.ceil(images.length / columns);
    const [wide, tall] = [columns * (width + gap) - gap, rows * (height + gap) - gap];
    const data = new Float32Array(wide * tall * channels).fill(background);
    images.forEach((image, index) => {
      const left = (index % columns) * (width + gap), top = Math.floor(index / columns) * (height + gap);
      for (let y = 0; y < height; y++) {
        data.set(image.subarray(y * width * channels, (y + 1) * width * channels), ((top + y) * wide + left) * channels);
      }
    });
    return {data, width: wide, height: tall};
  }

  // --- Weights: half-precision numbers and bytes in base64, see tools/export_live.py ---

  const halves = (() => {
    // The value of each of the 65,536 half-precision numbers.
    const table = new Float32Array(65536);
    for (let code = 0; code < 65536; code++) {
      const sign = code & 0x8000 ? -1 : 1, exponent = (code >> 10) & 31, fraction = code & 1023;
      table[code] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
    }
    return table;
  })();

  function unpack({record, arrays, data}) {
    const text = atob(data), bytes = new Uint8Array(text.length), found = {};
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const size = shape => shape.reduce((a, b) => a * b, 1), count = ({shape, quantised}) => (quantised ? shape.at(-1) : size(shape));
    const total = arrays.reduce((sum, array) => sum + count(array), 0), codes = new Uint16Array(bytes.buffer, 0, total);
    const quanta = new Int8Array(bytes.buffer, 2 * total);
    let offset = 0, at = 0;
    for (const array of arrays) {
      const {name, shape, quantised} = array, numbers = Float32Array.from(codes.subarray(offset, offset += count(array)), code => halves[code]);
      // A quantised array is its bytes times a scale for each index of the last axis.
      const values = quantised ? Float32Array.from(quanta.subarray(at, at += size(shape)), (value, i) => value * numbers[i % numbers.length]) : numbers;
      found[name] = {shape, data: values};
    }
    return {record, arrays: found};
  }

  function weights(name) {
    const found = packed.get(name);
    if (!found) throw new Error(`weights/${name} is not in the list "needs" of this figure`);
    return found.arrays instanceof Array ? packed.set(name, unpack(found)).get(name) : found;
  }

  // --- The tools of one running figure ---

  function makeTools(figure, root, linked) {
    const status = figure.querySelector(".live-status"), ends = [], settings = new Map();
    const tools = {stopped: false, random, sheet, weights, readImage, fromSource};

    const label = (parent, text, kind) => {
      const identifier = `live-${++identifiers}`, box = add(parent, "div", {className: `live-control live-${kind}`});
      add(box, "label", {htmlFor: identifier, textContent: text});
      return [box, identifier];
    };
    const enter = (name, read) => {
      if (name) settings.set(name, read);
    };

    tools.say = text => {
      if (status.textContent !== text) status.textContent = text;
    };
    tools.stage = () => {
      const sight = add(root, "div", {className: "live-sight"}), stage = add(sight, "div", {className: "live-stage"});
      // The result is next to the image.
      sight.append(status);
      return stage;
    };
    tools.row = legend => {
      const row = add(root, legend ? "fieldset" : "div", {className: "live-row"});
      if (legend) add(row, "legend", {textContent: legend});
      return row;
    };

    tools.legend = entries => {
      const list = add(root, "ul", {className: "live-legend"});
      for (const [text, colour] of entries) {
        const entry = add(list, "li");
        add(entry, "span").style.background = colour;
        entry.append(text);
      }
      return list;
    };

    tools.setting = (name, initial, read) => {
      enter(name, read);
      return linked.get(name) ?? initial;
    };

    tools.slider = (parent, {name, label: text, min, max, step = 1, value, format = String, onChange}) => {
      const [box, id] = label(parent, text, "slider");
      const wanted = linked.has(name) ? Number(linked.get(name)) : value;
      const input = add(box, "input", {type: "range", id, min, max, step});
      const output = add(box, "output", {htmlFor: id});
      const control = {
        element: input,
        get value() { return Number(input.value); },
        set(next) {
          input.value = Number.isFinite(next) ? next : value;
          output.textContent = format(control.value).replace("-", "−");
          input.setAttribute("aria-valuetext", output.textContent);
        },
      };
      control.set(wanted);
      // A finger that scrolls the page often begins on a slider, which takes the value under it at once. This value counts when
      // the finger moves sideways or is lifted. If the page scrolls, the slider returns to its value.
      let touch = null;
      const settle = () => {
        const before = touch?.value ?? control.value;
        touch = null;
        if (control.value !== before) onChange?.(control.value);
      };
      input.addEventListener("pointerdown", event => {
        if (event.pointerType !== "mouse") touch = {value: control.value, x: event.clientX, y: event.clientY};
      });
      input.addEventListener("pointermove", event => {
        if (touch && Math.abs(event.clientX - touch.x) > Math.abs(event.clientY - touch.y)) settle();
      });
      input.addEventListener("pointerup", settle);
      input.addEventListener("pointercancel", () => {
        if (touch) control.set(touch.value);
        touch = null;
      });
      input.addEventListener("input", () => {
        control.set(control.value);
        if (!touch) onChange?.(control.value);
      });
      enter(name, () => input.value);
      return control;
    };

    tools.select = (parent, {name, label: text, options, value, onChange}) => {
      const [box, id] = label(parent, text, "select");
      const input = add(box, "select", {id});
      for (const [key, shown] of options) add(input, "option", {value: key, textContent: shown});
      const known = key => options.some(([other]) => String(other) === String(key));
      const control = {
        element: input,
        get value() { return input.value; },
        set(next) { input.value = known(next) ? next : value ?? options[0][0]; },
      };
      control.set(linked.get(name) ?? value);
      input.addEventListener("change", () => onChange?.(control.value));
      enter(name, () => input.value);
      return control;
    };

    tools.checkbox = (parent, {name, label: text, value = false, onChange}) => {
      const [box, id] = label(parent, text, "checkbox");
      const input = add(null, "input", {type: "checkbox", id});
      box.prepend(input);
      const control = {
        element: input,
        get value() { return input.checked; },
        set(next) { input.checked = next; },
      };
      control.set(linked.has(name) ? linked.get(name) === "1" : value);
      input.addEventListener("change", () => onChange?.(control.value));
      enter(name, () => (input.checked ? "1" : "0"));
      return control;
    };

    tools.text = (parent, {name, label: text, value, most = 100, onChange}) => {
      const [box, id] = label(parent, text, "text");
      const input = add(box, "input", {type: "text", id, maxLength: most, spellcheck: false, autocomplete: "off"});
      const control = {
        element: input,
        get value() { return input.value; },
        set(next) { input.value = String(next).slice(0, most); },
      };
      control.set(linked.get(name) ?? value);
      input.addEventListener("change", () => onChange?.(control.value));
      enter(name, () => input.value);
      return control;
    };

    tools.attribution = text => add(root, "p", {className: "live-note", textContent: text});
    tools.note = parent => {
      const note = add(parent, "p", {className: "live-warning", id: `live-${++identifiers}`});
      note.setAttribute("aria-live", "polite");
      return note;
    };

    tools.button = (parent, text, onClick) => {
      const button = add(parent, "button", {type: "button", textContent: text});
      button.addEventListener("click", () => onClick());
      return button;
    };

    tools.file = (parent, {label: text, side, square, onImage}) => {
      const [box, id] = label(parent, text, "file");
      const input = add(box, "input", {type: "file", id, accept: "image/*"}), say = message(box);
      input.addEventListener("change", async () => {
        if (!input.files.length) return;
        say("");
        try {
          const image = await readImage(input.files[0], {side, square});
          if (!tools.stopped) await onImage(image);
        } catch (error) {
          if (!tools.stopped) say(error.message);
        }
        // The same file may be chosen again.
        input.value = "";
      });
      return {element: input, say};
    };

    tools.canvas = (parent, {label: text, width, height, scale = 8, title, share = 1}) => {
      const panel = title ? add(parent, "div", {className: "live-panel"}) : parent;
      const heading = title && add(panel, "p", {className: "live-title", textContent: title});
      const element = add(panel, "canvas", {className: "live-canvas"});
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", text);
      const context = element.getContext("2d", {willReadFrequently: true});
      let pixels;
      const fit = () => {
        // A whole number of screen pixels for each pixel of the image, unless the image is wider than the column.
        const density = devicePixelRatio || 1, whole = parent.clientWidth || root.clientWidth || width;
        const room = share < 1 ? whole * share - 12 : whole;
        const factor = Math.floor(Math.min(scale, room / element.width) * density) / density;
        element.style.width = `${factor ? factor * element.width : Math.min(room, element.width)}px`;
      };
      const view = {
        element,
        context,
        size(wide, tall) {
          Object.assign(element, {width: wide, height: tall});
          pixels = context.createImageData(wide, tall);
          pixels.data.fill(255);
          fit();
        },
        draw(data) {
          const count = element.width * element.height, channels = data.length / count;
          if (channels !== 1 && channels !== 3) {
            throw new Error(`${data.length} numbers for ${element.width} × ${element.height} pixels; expected 1 or 3 for each pixel`);
          }
          const last = channels - 1, bytes = pixels.data;
          for (let i = 0, o = 0, p = 0; i < count; i++, o += 4, p += channels) {
            // Bytes of image data are clamped and rounded by the browser.
            bytes[o] = 255 * data[p];
            bytes[o + 1] = 255 * data[p + (last >> 1)];
            bytes[o + 2] = 255 * data[p + last];
          }
          context.putImageData(pixels, 0, 0);
        },
        title(words) { heading.textContent = words; },
        position(event) {
          const place = element.getBoundingClientRect();
          return {
            x: (event.clientX - place.left) / place.width * element.width,
            y: (event.clientY - place.top) / place.height * element.height,
          };
        },
        point(place, held) {
          const reach = 24, go = event => place(view.position(event));
          let touch = null;
          Object.assign(element.style, {cursor: "crosshair", touchAction: "pan-y pinch-zoom"});
          const near = event => {
            const {x, y} = view.position(event), mark = held?.(), size = element.clientWidth / element.width;
            return Boolean(mark) && size * Math.hypot(x - mark.x, y - mark.y) <= reach;
          };
          tools.listen(element, "touchstart", event => {
            if (event.touches.length === 1 && near(event.touches[0])) event.preventDefault();
          }, {passive: false});
          tools.listen(element, "pointerdown", event => {
            if (event.pointerType === "mouse") return go(event);
            touch = event.isPrimary ? {x: event.clientX, y: event.clientY, drags: near(event)} : null;
          });
          tools.listen(element, "pointermove", event => {
            if (event.pointerType === "mouse") return event.buttons && go(event);
            if (!touch) return;
            touch.drags ||= Math.abs(event.clientX - touch.x) > Math.abs(event.clientY - touch.y);
            if (touch.drags) go(event);
          });
          tools.listen(element, "pointerup", event => {
            if (touch) go(event);
            touch = null;
          });
          tools.listen(element, "pointercancel", () => { touch = null; });
        },
      };
      view.size(width, height);
      const observer = new ResizeObserver(fit);
      observer.observe(parent);
      ends.push(() => observer.disconnect());
      return view;
    };

    tools.colours = () => {
      const style = getComputedStyle(document.documentElement), names = ["ink", "quiet", "ground", "panel", "line", "edge", "accent"];
      return Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
    };
    tools.onColours = draw => {
      const observer = new MutationObserver(draw);
      observer.observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
      ends.push(() => observer.disconnect());
    };

    tools.frames = step => {
      let going = true;
      const next = time => {
        if (!going || tools.stopped) return;
        step(time);
        requestAnimationFrame(next);
      };
      requestAnimationFrame(next);
      return () => { going = false; };
    };
    tools.pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
    tools.listen = (target, type, handler, options) => {
      target.addEventListener(type, handler, options);
      ends.push(() => target.removeEventListener(type, handler, options));
    };

    tools.link = () => {
      const values = new URLSearchParams([...settings].map(([name, read]) => [name, read()]));
      return `#live-${figure.dataset.live}:${values}`;
    };
    tools.end = () => {
      tools.stopped = true;
      for (const end of ends.splice(0)) end();
    };
    return tools;
  }

  // --- Starting and stopping ---

  // The settings in the fragment of the page's address, if they are for this figure.
  function linkedSettings(name) {
    const prefix = `#live-${name}:`;
    return new Map(location.hash.startsWith(prefix) ? new URLSearchParams(location.hash.slice(prefix.length)) : []);
  }

  const parts = figure => [".live-still", ".live-body", ".live-start", ".live-status"].map(part => figure.querySelector(part));

  async function begin(figure, linked = linkedSettings(figure.dataset.live)) {
    const name = figure.dataset.live, folder = figure.dataset.folder;
    const [still, body, button, status] = parts(figure), focused = figure.contains(document.activeElement);
    end(figure);
    button.disabled = true;
    status.textContent = "Loading …";
    let tools;
    try {
      await load(`${folder}${name}.js`);
      const {needs = [], start} = figures.get(name);
      for (const needed of needs) await load(`${folder}${needed}.js`);
      status.textContent = "";
      const root = add(null, "div", {className: "live-root"});
      tools = makeTools(figure, root, linked);
      body.replaceChildren(root);
      body.hidden = false;
      still.hidden = true;
      const stop = await start(root, tools);
      running.set(figure, {tools, stop});
      const row = add(body, "div", {className: "live-row live-end"});
      const stopButton = add(row, "button", {type: "button", textContent: "Stop"});
      stopButton.addEventListener("click", () => {
        end(figure);
        button.focus();
      });
      const resetButton = add(row, "button", {type: "button", textContent: "Reset all settings"});
      resetButton.addEventListener("click", () => begin(figure, new Map()));
      const linkButton = add(row, "button", {type: "button", textContent: "Link to these settings"}), say = message(row);
      linkButton.addEventListener("click", () => link(tools, say));
      button.hidden = true;
      // The button that had the focus is gone; Tab continues with the controls.
      if (focused) Object.assign(root, {tabIndex: -1}).focus({preventScroll: true});
      figure.dispatchEvent(new CustomEvent("live-started"));
    } catch (error) {
      tools?.end();
      end(figure);
      status.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }

  function end(figure) {
    const found = running.get(figure);
    running.delete(figure);
    found?.tools.end();
    found?.stop?.();
    const [still, body, button, status] = parts(figure);
    button.after(status);
    status.textContent = "";
    body.replaceChildren();
    body.hidden = true;
    still.hidden = button.hidden = false;
  }

  async function link(tools, say) {
    // Without a new entry in the history, and without the event that would start the figure again.
    history.replaceState(null, "", tools.link());
    let copied = "";
    try {
      await navigator.clipboard.writeText(location.href);
      copied = " and was copied";
    } catch {
      // A page from disk may not write to the clipboard.
    }
    say(`The link is in the address bar${copied}.`);
  }

  window.imggenLive = {
    begin,
    weights,
    end,
    random,
    register(name, figure) { figures.set(name, figure); },
    pack(name, content) { packed.set(name, content); },
  };
})();
