# A server with its data in a volume. Build the package first: npm ci && npm run build
FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY tools/node tools/node
RUN npm ci --omit=dev --omit=optional && npm cache clean --force
COPY dist dist
COPY proto proto
RUN useradd --system --home /var/lib/collector --create-home collector
USER collector
VOLUME /var/lib/collector
EXPOSE 50051
# There is no access control yet: publish the port to trusted networks only.
CMD ["node", "--max-semi-space-size=8", "dist/cli/main.js", "start", "--host", "0.0.0.0", "--insecure", "--data", "/var/lib/collector"]
HEALTHCHECK CMD node -e "fetch('http://127.0.0.1:50051/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
STOPSIGNAL SIGTERM
