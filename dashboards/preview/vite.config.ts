import { appendFileSync, cpSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import license from 'rollup-plugin-license';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Editors and maps that a page without editing never opens; they are most of what @grafana/ui would bring along. */
const UNUSED = /\/(ReactMonacoEditor|CodeMirrorEditor|OpenLayersProvider)(\.mjs)?$/;

function leaveOutEditors(): Plugin {
  return {
    name: 'leave-out-editors',
    enforce: 'pre',
    resolveId(id, from) {
      return from?.includes('@grafana/ui') && UNUSED.test(id) ? here('src/unused.ts') : undefined;
    },
  };
}

/** The styles of the font, as @grafana/ui and as @fontsource call them. */
const FONTS = { Regular: '400-normal', Medium: '500-normal', Italic: '400-italic', MediumItalic: '500-italic' };

/**
 * What the bundler does not see: icons and fonts, where the components of @grafana/ui ask for them, and the font's
 * licence. One icon that they ask for is not in their package; `public/` has it.
 */
function addAssets(): Plugin {
  return {
    name: 'add-assets',
    apply: 'build',
    writeBundle() {
      appendFileSync(here('dist/NOTICES.txt'), `\n---\n\nName: Inter\n\n${readFileSync(here('node_modules/@fontsource/inter/LICENSE'), 'utf8')}`);
      for (const [name, style] of Object.entries(FONTS)) {
        cpSync(here(`node_modules/@fontsource/inter/files/inter-latin-${style}.woff2`), here(`dist/public/fonts/inter/Inter-${name}.woff2`));
      }
      cpSync(here('node_modules/@grafana/ui/dist/public/img'), here('dist/public/build/img'), { recursive: true });
    },
  };
}

export default defineConfig({
  build: {
    target: 'es2022',
    chunkSizeWarningLimit: 10_000,
    rollupOptions: {
      plugins: [license({ thirdParty: { includePrivate: false, output: here('dist/NOTICES.txt') } })],
    },
  },
  resolve: {
    // The years around now, not every change of every clock since 1900.
    alias: [{ find: /^moment-timezone$/, replacement: 'moment-timezone/builds/moment-timezone-with-data-10-year-range.js' }],
  },
  plugins: [react(), leaveOutEditors(), addAssets()],
  test: {
    include: ['tests/**/*.test.ts'],
    environment: 'jsdom',
    // Grafana's packages are loaded once, not for each file; no test leaves anything behind.
    isolate: false,
    setupFiles: ['tests/setup.ts'],
    // Node alone cannot read these as they are published.
    server: { deps: { inline: [/@grafana/] } },
  },
});
