// botguard: reports that somebody touches this page, at most once in five seconds, and nothing
// about what was touched. <script src="/.botguard/ui.js" data-key="YOUR PUBLIC KEY"></script>
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script) return;
  const url = new URL("ui", script.src);
  const keyHeader = "KEY_HEADER";
  const beforeKey = "BEFORE_KEY";
  const key = script.dataset.key;
  const headers = { "content-type": "application/json" };
  if (keyHeader && key) headers[keyHeader] = beforeKey + key;

  const pauseMs = 5000;
  const tokenLifetimeMs = 540000; // A minute less than the server's.
  let token = null;
  let mintedAt = 0;
  let quietUntil = 0;

  const ask = async (options) => {
    const response = await fetch(url, {
      cache: "no-store",
      credentials: "same-origin",
      headers,
      keepalive: true,
      ...options,
    });
    token = null;
    if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("retry-after")) || 60;
      quietUntil = Date.now() + seconds * 1000;
    }
    if (response.ok) {
      token = (await response.json()).token;
      mintedAt = Date.now();
    }
  };

  const report = async (kind) => {
    if (!token || Date.now() - mintedAt > tokenLifetimeMs) await ask({ method: "GET" });
    if (token) await ask({ method: "POST", body: JSON.stringify({ token, kind }) });
  };

  const kinds = { pointerdown: "pointer", keydown: "key", scroll: "scroll", touchstart: "touch" };
  for (const [event, kind] of Object.entries(kinds)) {
    addEventListener(
      event,
      ({ isTrusted }) => {
        const now = Date.now();
        if (!isTrusted || now < quietUntil) return;
        quietUntil = now + pauseMs;
        report(kind).catch(() => {});
      },
      { capture: true, passive: true },
    );
  }
})();
