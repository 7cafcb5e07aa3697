module portcullis.test/certnames

go 1.24
