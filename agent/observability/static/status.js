// Brings the page up to date every 5 seconds, without losing the place, a selection or an opened detail.
"use strict";

async function refresh() {
  if (document.hidden || !getSelection().isCollapsed) return;
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(4000) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (!answer.ok || fresh === null) throw new Error("not the status page");
    for (const opened of document.querySelectorAll("details[open][id]")) {
      fresh.querySelector("#" + CSS.escape(opened.id))?.setAttribute("open", "");
    }
    document.getElementById("live").replaceWith(document.adoptNode(fresh));
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}

setInterval(refresh, 5000);
document.addEventListener("visibilitychange", refresh);
