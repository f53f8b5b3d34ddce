/* For what people copy and keep: a key, recovery codes. Every page works without this file. */
(() => {
  "use strict";

  // -- [data-copy]: copies what an element says; [data-print]: prints the page ---------

  const act = {
    copy: async (button) => {
      const text = document.getElementById(button.dataset.copy).innerText.trim();
      await navigator.clipboard.writeText(text);
      button.parentElement.querySelector("[role=status]").textContent = button.dataset.done;
    },
    print: () => window.print(),
  };

  const offer = (kind) => document.querySelectorAll(`[data-${kind}]`).forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await act[kind](button);
      keep();
    });
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
