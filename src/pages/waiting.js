// A login page goes on once another tab has signed in, when it is looked at.
"use strict";
{
  const form = document.getElementById("login");
  const submit = document.getElementById("submit");
  const goOn = async () => {
    if (document.hidden) return;
    const { ok } = await fetch("session").catch(() => ({}));
    if (!ok || submit.hasAttribute("aria-disabled")) return;
    // With the query of before, nothing would be loaded where there is a fragment.
    const to = new URLSearchParams("on");
    for (const { name, value } of form.querySelectorAll("[type=hidden]:not([name=csrf])")) {
      to.set(name, value);
    }
    location.replace(`login?${to}${location.hash}`);
  };
  addEventListener("focus", goOn);
  document.addEventListener("visibilitychange", goOn);
}
