// botguard's challenge: has a worker find the number that the server asks for, waits as long as it
// asks for, posts it, and loads again what was asked for. Goes nowhere else.
(() => {
  "use strict";
  const main = document.getElementById("challenge");
  const status = document.getElementById("status");
  const retry = document.getElementById("retry");
  const source = document.getElementById("solver").textContent;
  const { path, after } = main.dataset;
  const first = {
    token: main.dataset.token,
    difficulty: Number(main.dataset.difficulty),
    floor_ms: Number(main.dataset.floorMs),
  };
  const attempts = 3; // With one page.
  const passes = 3; // Of this path in a minute, without being let through.
  const marginMs = 100;

  const say = (text) => {
    status.textContent = text;
  };

  const fail = (text) => {
    say(text);
    retry.hidden = false;
  };

  const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

  const solve = ({ token, difficulty }) =>
    new Promise((found, failed) => {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      const worker = new Worker(url);
      const end = (settle, value) => {
        worker.terminate();
        URL.revokeObjectURL(url);
        settle(value);
      };
      worker.onmessage = ({ data }) => end(found, data);
      worker.onerror = () => end(failed, new Error("the calculation did not run"));
      worker.postMessage({ token, difficulty });
    });

  // The next puzzle, or null once the browser is let through.
  const attempt = async (puzzle) => {
    const since = performance.now();
    const solution = await solve(puzzle);
    const rest = puzzle.floor_ms + marginMs - (performance.now() - since);
    if (rest > 0) await pause(rest);
    const response = await fetch(path, {
      method: "POST",
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ challenge: puzzle.token, solution }),
    });
    if (response.status === 204) return null;
    const problem = await response.json().catch(() => ({}));
    if (problem.challenge) return problem.challenge;
    throw new Error(problem.detail || `the server answered ${response.status}`);
  };

  // Without cookies every load would end here again.
  const passedTooOften = () => {
    try {
      const name = "botguard_challenge_passes";
      const recent = JSON.parse(sessionStorage.getItem(name) || "[]");
      const times = recent.filter((time) => Date.now() - time < 60000);
      times.push(Date.now());
      sessionStorage.setItem(name, JSON.stringify(times.slice(-passes - 1)));
      return times.length > passes;
    } catch {
      return false;
    }
  };

  const run = async () => {
    if (!navigator.cookieEnabled) {
      fail("This check needs cookies. Allow them for this site and try again.");
      return;
    }
    if (passedTooOften()) {
      fail("The check was passed, and the site still does not open. Allow cookies, or wait a minute and try again.");
      return;
    }
    say("Checking. This takes a few seconds.");
    let puzzle = first;
    for (let tried = 0; tried < attempts; tried += 1) {
      puzzle = await attempt(puzzle);
      if (puzzle === null) {
        if (after === "reload") {
          say("Done. Loading the page.");
          location.reload();
        } else {
          say("Done. You can go back to the page that you came from.");
        }
        return;
      }
    }
    fail("The check did not succeed. Try again, or ask the people who run this site.");
  };

  retry.addEventListener("click", () => location.reload());
  run().catch((error) => {
    fail(`The check did not succeed: ${error.message}. Try again.`);
  });
})();
