import { defineConfig } from 'vitest/config'

// The control plane that `npm run dev` talks to.
const target = process.env['SUREFOOT_URL'] ?? 'http://127.0.0.1:7600'

export default defineConfig({
  base: '/',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    outDir: '../dist',
    emptyOutDir: true,
    target: ['chrome123', 'edge123', 'firefox124', 'safari17.5'], // the first to know light-dark() and AbortSignal.any
    assetsInlineLimit: 0, // a data: URL is refused by the page's own policy
    modulePreload: { polyfill: false },
    sourcemap: false,
    reportCompressedSize: false,
  },
  server: { port: 7680, proxy: { '/api': { target, changeOrigin: false } } },
  test: { include: ['test/**/*.test.{ts,tsx}'], environment: 'node' },
})
