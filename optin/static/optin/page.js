/* Comfort only: every page works without this file. */
(() => {
  "use strict";

  // Browsers that do not know `autofocus` on a <div>: once the others have done it.
  window.addEventListener("load", () => requestAnimationFrame(() => {
    if (document.activeElement === document.body) document.querySelector(".errors")?.focus();
  }));

  // -- a form is sent once: a second click sends nothing ------------------------------

  const PATIENCE = 10000; // the answer was a download, or never came
  const sent = new Map();

  const release = (form) => {
    clearTimeout(sent.get(form)?.timer);
    sent.get(form)?.buttons.forEach((button) => (button.disabled = false));
    sent.delete(form);
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented) return;
    if (sent.has(form)) return event.preventDefault();
    const buttons = [...form.querySelectorAll("button:not([disabled])")];
    sent.set(form, { buttons, timer: setTimeout(release, PATIENCE, form) });
    // Later, as a disabled button would not be part of what is sent.
    setTimeout(() => buttons.forEach((button) => (button.disabled = true)));
  });

  // Back from the next page: the browser shows this one as it was left.
  window.addEventListener("pageshow", () => [...sent.keys()].forEach(release));

  // -- [data-wait]: counts down for the eye, speaks once at the end -------------------

  const language = document.documentElement.lang || undefined;
  const relative = new Intl.RelativeTimeFormat(language);
  const inWords = (seconds) => seconds < 120
    ? relative.format(seconds, "second") : relative.format(Math.ceil(seconds / 60), "minute");

  document.querySelectorAll("[data-wait]").forEach((line) => {
    const end = Date.now() + line.dataset.wait * 1000;
    const shown = line.querySelector("span");
    const buttons = line.closest("form")?.querySelectorAll("button") ?? [];
    const spoken = document.createElement("p");
    spoken.setAttribute("role", "status");
    line.after(spoken);
    buttons.forEach((button) => (button.disabled = true));

    const tick = () => {
      const left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) {
        shown.textContent = inWords(left);
        return;
      }
      clearInterval(timer);
      line.hidden = true;
      spoken.textContent = line.dataset.ready;
      buttons.forEach((button) => (button.disabled = false));
    };
    const timer = setInterval(tick, 1000);
    tick();
  });

  // -- [data-digits]: a code is sent with its last digit, once ------------------------

  document.querySelectorAll("[data-digits]").forEach((field) => {
    if (!field.form.requestSubmit) return; // an old browser
    field.form.querySelector("[data-sends]")?.removeAttribute("hidden");
    let done = false;
    field.addEventListener("input", (event) => {
      // Not while a recovery code is typed, which has letters too.
      const code = field.value.normalize("NFKC").replace(/[\s\u2010-\u2015-]/g, "");
      const whole = /^[0-9]+$/.test(code) && code.length === Number(field.dataset.digits);
      if (done || event.isComposing || !whole) return;
      done = true;
      field.form.requestSubmit();
    });
  });

  // -- [data-shows]: a password can be read while it is typed -------------------------

  document.querySelectorAll("[data-shows]").forEach((button) => {
    const field = document.getElementById(button.dataset.shows);
    const word = button.querySelector("span");
    const words = { password: word.textContent, text: button.dataset.hide };
    const turn = (type) => {
      field.type = type;
      word.textContent = words[type];
      button.setAttribute("aria-pressed", type === "text");
    };
    // Browsers send what is spelled out to their makers, but not the text of a password.
    field.spellcheck = false;
    field.autocapitalize = "none";
    button.hidden = false;
    button.addEventListener("click", () => turn(field.type === "text" ? "password" : "text"));
    field.form.addEventListener("submit", () => turn("password"));
  });

  // -- [data-region]: a country by its name -------------------------------------------

  document.querySelectorAll("[data-region]").forEach((name) => {
    const names = new Intl.DisplayNames(language, { type: "region" });
    name.textContent = names.of(name.dataset.region);
  });

  // -- [data-fresh]: the simulated phone shows new texts as they come -----------------

  const screen = document.querySelector("[data-fresh]");
  const key = (text) => text.dataset.key;

  const look = async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { redirect: "error" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-fresh]");
    const known = new Set([...screen.querySelectorAll("[data-key]")].map(key));
    const texts = [...fresh.querySelectorAll("[data-key]")].filter((text) => !known.has(key(text)));
    if (!texts.length) return;
    screen.querySelector(".empty")?.remove();
    texts.forEach((text) => text.classList.add("new"));
    screen.querySelector("ol").prepend(...texts);
    screen.scrollTo({ top: 0 });
  };

  if (screen) {
    const again = () => look().catch(() => {}).then(() => setTimeout(again, screen.dataset.fresh));
    setTimeout(again, screen.dataset.fresh);
  }
})();
