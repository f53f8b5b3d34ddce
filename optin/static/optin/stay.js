/* Comfort only: says two minutes before that the session of staff ends, and lets it go on. */
(() => {
  "use strict";

  const bar = document.getElementById("stay");
  const said = bar.querySelector("p");
  const button = bar.querySelector("button");
  const NOTICE = 120; // seconds
  const tabs = new BroadcastChannel("staff-session");
  let ends = 0;
  let latest = 0;
  let told = "";
  let pressed = 0;

  const now = () => Date.now() / 1000;

  const say = (words, offers = false) => {
    if (words === told) return; // a screen reader would hear it again
    const held = document.activeElement === button;
    told = said.textContent = words;
    bar.classList.toggle("shown", Boolean(words));
    button.hidden = !offers;
    if (held && !offers) said.focus();
  };

  const lasts = (left, most) => {
    ends = now() + left;
    latest = now() + most;
    tabs.postMessage({ ends, latest });
  };

  const look = () => {
    const left = ends - now();
    if (left <= 0) say("Your session may have ended. Open this page again to sign in. What you wrote here isn't saved.");
    else if (left > NOTICE) say(now() - pressed < 10 ? "You're still signed in." : "");
    else if (latest - ends < 1) say("You'll be signed out in 2 minutes. Nobody stays signed in for more than 12 hours.");
    else say("You'll be signed out in 2 minutes, because you've opened no page for a while.", true);
  };

  button.addEventListener("click", async () => {
    const body = new FormData(document.getElementById("logout-form"));
    try {
      const answer = await fetch(bar.dataset.address, { method: "POST", body, redirect: "error" });
      const { left, most } = await answer.json();
      lasts(left, most);
      pressed = now();
      look();
    } catch {
      said.textContent = told = "That didn't work. Open this page again to stay signed in.";
    }
  });

  // Another tab asked for a page: the session is the same.
  tabs.addEventListener("message", ({ data }) => {
    ends = Math.max(ends, data.ends);
    latest = Math.max(latest, data.latest);
    look();
  });

  lasts(Number(bar.dataset.left), Number(bar.dataset.most));
  setInterval(look, 1000);
})();
