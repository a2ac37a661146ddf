// A login page goes on once another tab has signed in, when it is looked at.
"use strict";
{
  const form = document.getElementById("login");
  const submit = document.getElementById("submit");
  let asks = false;
  const goOn = async () => {
    if (document.hidden || asks) return;
    asks = true; // focus and visibility often come together, and once it leaves, that is all
    const { ok } = await fetch("session", { signal: AbortSignal.timeout(10_000) }).catch(() => ({}));
    if (!ok || submit.hasAttribute("aria-disabled")) {
      asks = false;
      return;
    }
    // A browser loads nothing where only the fragment would differ: the time makes a new address.
    const to = new URLSearchParams({ on: Date.now() });
    for (const { name, value } of form.querySelectorAll("[type=hidden]:not([name=csrf])")) {
      to.set(name, value);
    }
    location.replace(`login?${to}${location.hash}`);
  };
  addEventListener("focus", goOn);
  document.addEventListener("visibilitychange", goOn);
  // Back from the next page shows this one as it was left.
  addEventListener("pageshow", ({ persisted }) => { if (persisted) asks = false; });
}
