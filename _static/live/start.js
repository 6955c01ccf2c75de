// Shows the start buttons of the live figures of a page. A button loads live.js, which does the rest. A link with the fragment
// #live-NAME:setting=value&… starts the figure NAME with these settings.
(() => {
  let loading;

  // Load live.js once.
  const load = folder => loading ??= new Promise((done, fail) => {
    const script = Object.assign(document.createElement("script"), {src: `${folder}live.js`, onload: done, onerror: fail});
    document.head.append(script);
  });

  async function begin(figure) {
    const status = figure.querySelector(".live-status");
    status.textContent = "Loading …";
    try {
      await load(figure.dataset.folder);
    } catch {
      loading = undefined;
      status.textContent = "The script live.js could not be loaded. Reload the page and try again.";
      return;
    }
    await window.imggenLive.begin(figure);
  }

  // The figure that a fragment names, or nothing.
  const linked = () => {
    const name = location.hash.match(/^#live-(\w+):/)?.[1];
    return name && document.querySelector(`figure.live[data-live="${name}"]`);
  };

  async function follow() {
    const figure = linked();
    if (!figure) return;
    await begin(figure);
    figure.scrollIntoView();
  }

  for (const figure of document.querySelectorAll("figure.live")) {
    const button = figure.querySelector(".live-start");
    button.hidden = false;
    button.addEventListener("click", () => begin(figure));
  }
  addEventListener("hashchange", follow);
  follow();
})();
