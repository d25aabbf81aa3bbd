/** What a browser has and jsdom lacks, asked for by Grafana's packages when they load. */
import { vi } from 'vitest';

vi.stubGlobal('matchMedia', (media: string) => ({ media, matches: false, addEventListener: () => undefined, removeEventListener: () => undefined }));
vi.stubGlobal(
  'ResizeObserver',
  class {
    readonly observe = () => undefined;
    readonly disconnect = () => undefined;
  },
);
HTMLCanvasElement.prototype.getContext = () => null;
