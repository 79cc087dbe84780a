"""Chromium before the edge, told what to do by Playwright; prints what came of it.

Arguments: the site's name, its address and port.
"""

import json
import sys

from playwright.sync_api import sync_playwright

TALK = """async () => {
  const json = { headers: { "content-type": "application/json" }, method: "POST" };
  const echoed = new Promise((done, failed) => {
    const socket = new WebSocket(`wss://${location.host}/socket`);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = message => done(message.data);
    socket.onerror = () => failed("the WebSocket failed");
  });
  // The application says the next only when it is asked to, so each comes before the end.
  const heard = new Promise((done, failed) => {
    const events = [];
    const source = new EventSource("/events");
    source.onerror = () => failed("the EventSource failed");
    source.onmessage = event => {
      events.push(event.data);
      if (events.length < 3) { fetch("/next", { method: "POST" }); }
      else { source.close(); done(events); }
    };
  });
  const protocols = () => performance.getEntries().map(entry => entry.nextHopProtocol);
  return {
    got: await (await fetch("/json")).json(),
    posted: await (await fetch("/json", { ...json, body: '{"a": [1, "é"]}' })).json(),
    missing: (await fetch("/none")).status,
    echoed: await echoed,
    heard: await heard,
    protocols: [...new Set(protocols().filter(protocol => protocol))],
  };
}"""


def main(name, address, port):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            chromium_sandbox=False,
            args=[f"--host-resolver-rules=MAP {name} {address}", "--disable-quic"],
        )
        page = browser.new_page(ignore_https_errors=True)
        loaded = {}
        page.on("response", lambda answer: loaded.update({answer.url: answer.status}))
        page.goto(f"https://{name}:{port}/page", wait_until="load")
        assets = {url.rsplit("/", 1)[1]: status for url, status in loaded.items()}
        of_page = page.evaluate("[document.title, getComputedStyle(document.body).color]")
        print(json.dumps({"loaded": assets, "page": of_page, **page.evaluate(TALK)}))
        browser.close()


main(*sys.argv[1:])
