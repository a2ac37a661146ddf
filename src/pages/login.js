// The pages work without this; it adds the reveal button, the Caps Lock hint and progress, and sends
// what was to be sent before the login.
"use strict";
const waiting = document.querySelector("[data-send]");
if (waiting) waiting.requestSubmit();
else {
  const byId = (id) => document.getElementById(id);
  const reveal = byId("reveal");
  const submit = byId("submit");
  const caps = byId("caps");
  const form = submit.form;
  const passwords = form.querySelectorAll("[type=password]");
  const label = submit.textContent;
  const reveals = reveal.firstChild.data;

  const show = (shown) => {
    for (const password of passwords) password.type = shown ? "text" : "password";
    reveal.firstChild.data = shown ? reveal.dataset.hide : reveals;
  };
  const busy = (on) => {
    submit.textContent = on ? submit.dataset.busy : label;
    if (on) submit.setAttribute("aria-disabled", "true");
    else submit.removeAttribute("aria-disabled");
  };
  const look = (event) => {
    if (event.getModifierState) caps.hidden = !event.getModifierState("CapsLock");
  };

  document.documentElement.classList.add("scripted");
  reveal.hidden = false;
  reveal.addEventListener("click", () => show(passwords[0].type === "password"));
  for (const password of passwords) {
    for (const type of ["keydown", "keyup", "mousedown"]) password.addEventListener(type, look);
    password.addEventListener("blur", () => { caps.hidden = true; });
  }
  form.addEventListener("submit", (event) => {
    if (submit.hasAttribute("aria-disabled")) return event.preventDefault();
    show(false); // a password manager must not take it for plain text
    busy(true);
  });
  // Back from the next page shows this one as it was left: ready again.
  addEventListener("pageshow", () => busy(false));
  document.querySelector("[autofocus]")?.focus();
}
