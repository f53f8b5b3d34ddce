/* Forms with [data-passkey]: ask the browser for a passkey, and send what it answers. */
(() => {
  "use strict";

  // -- for browsers that do not read and write the JSON of WebAuthn level 3 ------------

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const read = (options) => {
    const withBytes = (one) => ({ ...one, id: toBytes(one.id) });
    const found = { ...options, challenge: toBytes(options.challenge) };
    if (options.user) found.user = withBytes(options.user);
    for (const list of ["allowCredentials", "excludeCredentials"])
      if (options[list]) found[list] = options[list].map(withBytes);
    return found;
  };

  const write = ({ id, type, rawId, response }) => {
    const written = { transports: response.getTransports?.() };
    for (const part of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (response[part]) written[part] = toText(response[part]);
    return { id, type, rawId: toText(rawId), response: written, clientExtensionResults: {} };
  };

  // -- a form is sent once the browser has answered ------------------------------------

  const ways = { create: "parseCreationOptionsFromJSON", get: "parseRequestOptionsFromJSON" };

  const ask = async (kind, options) => {
    const parse = PublicKeyCredential[ways[kind]]?.bind(PublicKeyCredential) ?? read;
    const found = await navigator.credentials[kind]({ publicKey: parse(options) });
    return JSON.stringify(found.toJSON ? found.toJSON() : write(found));
  };

  const causes = { InvalidStateError: "exists", NotAllowedError: "cancelled", AbortError: "cancelled" };

  document.querySelectorAll("form[data-passkey]").forEach((form) => {
    const said = form.querySelector("[role=status]");
    const field = form.elements.passkey;
    const button = form.querySelector("button");
    const say = (cause) => (said.textContent = said.dataset[cause]);
    if (!window.PublicKeyCredential) return say("impossible");
    button.disabled = false;

    form.addEventListener("submit", async (event) => {
      if (field.value) return; // the answer is on its way
      event.preventDefault();
      button.disabled = true;
      said.textContent = "";
      try {
        field.value = await ask(form.dataset.passkey, JSON.parse(field.dataset.options));
        form.requestSubmit();
      } catch (fault) {
        say(causes[fault.name] ?? "impossible");
      }
      button.disabled = false;
    });

    // Somebody who comes back from the next page needs a new answer: each works once.
    window.addEventListener("pageshow", () => (field.value = ""));
  });
})();
