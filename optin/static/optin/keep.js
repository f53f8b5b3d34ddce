/* For what people copy and keep: a key, recovery codes. Every page works without this file. */
(() => {
  "use strict";

  // -- [data-copy]: copies what an element says; [data-print]: prints the page ---------

  const act = {
    copy: async (button) => {
      const shown = document.getElementById(button.dataset.copy);
      const say = (text) =>
        (button.parentElement.querySelector("[role=status]").textContent = text);
      try {
        await navigator.clipboard.writeText(shown.innerText.trim());
      } catch {
        // A browser may ask the person first, and the person may say no.
        getSelection().selectAllChildren(shown);
        say(button.dataset.failed);
        return;
      }
      say(button.dataset.done);
      keep();
    },
    print: () => {
      window.print();
      keep();
    },
  };

  const offer = (kind) => document.querySelectorAll(`[data-${kind}]`).forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => act[kind](button));
  });

  // -- [data-unsaved]: asks before somebody leaves what is shown only now ---------------

  let kept = !document.querySelector("[data-unsaved]");
  const keep = () => (kept = true);

  window.addEventListener("beforeunload", (event) => {
    if (!kept) event.preventDefault();
  });
  document.querySelectorAll("[data-saved]").forEach((link) =>
    link.addEventListener("click", keep));

  if (navigator.clipboard) offer("copy");
  offer("print");
})();
