"use strict";
{
  const byId = (id) => document.getElementById(id);

  const clock = byId("clock");
  const events = new EventSource("/events");
  events.onmessage = (event) => { clock.value = `The server says it is ${event.data}.`; };
  events.onerror = () => { clock.value = "The stream ended. Are you still signed in?"; };

  const heard = byId("heard");
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.onopen = () => { heard.value = "Connected."; };
  socket.onmessage = (event) => { heard.value = `It said: ${event.data}`; };
  socket.onclose = (event) => { heard.value = `Closed (${event.code}). Are you still signed in?`; };
  byId("talk").addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket.readyState === WebSocket.OPEN) socket.send(byId("say").value);
  });

  const received = byId("received");
  byId("send").addEventListener("submit", async (event) => {
    event.preventDefault();
    received.value = "Uploading…";
    try {
      const reply = await fetch("/upload", { method: "POST", body: byId("file").files[0] });
      if (!reply.ok) throw new Error(`answer ${reply.status}`);
      const { bytes, sha256 } = await reply.json();
      received.value = `${bytes.toLocaleString()} bytes, SHA-256 ${sha256}`;
    } catch (error) {
      received.value = `That did not work: ${error.message}`;
    }
  });
}
