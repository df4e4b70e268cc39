module example.com/prices

go 1.19

require github.com/coreos/go-oidc/v3 v3.10.0
