// What an installed page shows where there is no connection. It keeps that one page and nothing else: the page's own files are
// named by their hashes and fetched as ever, so that no old program lives on in here.
const KEPT = "potluck-offline-1";
const PAGE = "./offline.html";

addEventListener("install", (event) => {
  const keep = async () => (await caches.open(KEPT)).addAll([PAGE, "./offline.css"]);
  event.waitUntil(keep().then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const clear = async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name.startsWith("potluck-offline-") && name !== KEPT).map((name) => caches.delete(name)));
  };
  event.waitUntil(clear().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate" && request.destination === "document") {
    event.respondWith(fetch(request).catch(() => caches.match(PAGE)));
  } else if (request.url.endsWith("/offline.css")) {
    event.respondWith(fetch(request).catch(() => caches.match("./offline.css")));
  }
});
