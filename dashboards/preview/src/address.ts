/** The page's address: which dashboard, which time, which variables. */
import { useSyncExternalStore } from 'react';

const CHANGED = 'address-changed';

function subscribe(listener: () => void): () => void {
  window.addEventListener('popstate', listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener('popstate', listener);
    window.removeEventListener(CHANGED, listener);
  };
}

/** The address at this moment; the component draws again when it changes. */
export function useAddress(): string {
  return useSyncExternalStore(subscribe, () => window.location.href);
}

/** Go to another address of this page; "back" returns. */
export function go(address: string): void {
  window.history.pushState(null, '', address);
  window.dispatchEvent(new Event(CHANGED));
  window.scrollTo(0, 0);
}

/** Set parameters of the address; no value removes one. */
export function setParameters(parameters: Record<string, string[]>): void {
  const address = new URL(window.location.href);
  for (const [name, values] of Object.entries(parameters)) {
    address.searchParams.delete(name);
    for (const value of values) {
      address.searchParams.append(name, value);
    }
  }
  if (address.href !== window.location.href) {
    window.history.pushState(null, '', address);
    window.dispatchEvent(new Event(CHANGED));
  }
}

/** The dashboard that an address names. */
export function uidOf(address: string): string | undefined {
  const match = /^\/d\/([^/]+)/.exec(new URL(address).pathname);
  return match?.[1] && decodeURIComponent(match[1]);
}

/** Follow links to dashboards without loading the page anew. */
export function followLinks(): () => void {
  const follow = (event: MouseEvent) => {
    const anchor = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>('a[href]') : null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!anchor || !plain || event.defaultPrevented || anchor.target === '_blank') {
      return;
    }
    if (anchor.origin === window.location.origin && anchor.pathname.startsWith('/d/')) {
      event.preventDefault();
      go(anchor.href);
    }
  };
  document.addEventListener('click', follow);
  return () => {
    document.removeEventListener('click', follow);
  };
}
